def pack(v): raise NotImplementedError
def unpack(v): raise NotImplementedError
