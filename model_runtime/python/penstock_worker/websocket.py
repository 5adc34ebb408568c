async def serve(call, answers, channel, bound, leave): raise NotImplementedError
