"""A certificate authority and certificates for "localhost", made with the openssl program."""

import pathlib
import ssl
import subprocess


class Certificates:
    """ca.crt; server.crt and server.key; client.crt and client.key; and a stranger's of each."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(exist_ok=True)
        for authority, suffix in (("ca", ""), ("other-ca", "-other")):
            self._run("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
                      "-nodes", "-days", "2", "-subj", f"/CN={authority}",
                      "-keyout", self[f"{authority}.key"], "-out", self[f"{authority}.crt"])
            for name in ("server", "client"):
                self._issue(authority, name + suffix)

    def __getitem__(self, name):
        return str(self.folder / name)

    def _issue(self, authority, name):
        self._run("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                  "-subj", f"/CN={name}", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
                  "-keyout", self[f"{name}.key"], "-out", self[f"{name}.csr"])
        self._run("x509", "-req", "-days", "2", "-copy_extensions", "copyall",
                  "-in", self[f"{name}.csr"], "-CA", self[f"{authority}.crt"],
                  "-CAkey", self[f"{authority}.key"], "-CAcreateserial", "-out", self[f"{name}.crt"])

    @staticmethod
    def _run(*arguments):
        subprocess.run(["openssl", *arguments], check=True, capture_output=True)

    def end(self, name):
        """When the certificate ends, as OpenSSL writes it."""
        shown = subprocess.run(["openssl", "x509", "-in", self[f"{name}.crt"], "-noout", "-enddate"],
                               check=True, capture_output=True, text=True).stdout
        return shown.strip().removeprefix("notAfter=")

    def client(self, alpn=("h2", "http/1.1"), certificate=None, ca="ca.crt"):
        """A client's context that trusts our authority."""
        context = ssl.create_default_context(cafile=self[ca])
        if alpn:
            context.set_alpn_protocols(list(alpn))
        if certificate:
            context.load_cert_chain(self[f"{certificate}.crt"], self[f"{certificate}.key"])
        return context

    def server(self, alpn=("h2", "http/1.1"), name="server"):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self[f"{name}.crt"], self[f"{name}.key"])
        context.set_alpn_protocols(list(alpn))
        return context
