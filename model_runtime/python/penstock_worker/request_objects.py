def make_request(call): raise NotImplementedError
