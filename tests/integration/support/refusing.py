"""How a replica says that it does not run a request: handlers for Replica."""

REFUSED_STREAM = 7


def refuse_by_header(request):
    request.refuse()


def refuse_stream(request):
    request.reset(REFUSED_STREAM)


def go_away_below(request):
    request.answered.set()
    request.end_work()
    request.connection.send_goaway(max(0, request.stream_id - 2))


REFUSALS = [refuse_by_header, refuse_stream, go_away_below]
