#pragma once

#include "net/buffer.h"
#include "net/http/headers.h"
#include "proxy/cluster/admission_queue.h"

namespace penstock::proxy {

struct ExchangeReport;

enum class FilterStatus {
  kContinue,  // on to the next filter
  kStop,      // this filter goes on later: Exchange::continueRequest()
};

// One step that every request of a listener passes; made anew for each exchange, and destroyed with
// it. Requests pass the filters in order, responses in reverse order. Loop thread only.
class Filter {
 public:
  virtual ~Filter() = default;

  // The request's head. Having stopped here, a filter hears of the body as it is buffered.
  virtual FilterStatus onRequestHead(http::RequestHead&) { return FilterStatus::kContinue; }
  // More of the body lies in Exchange::requestBody(), or the request is complete. Only the filter
  // that stopped the request, or the last one, is asked.
  virtual void onRequestBody() {}
  // The final response's head, before it is sent; also that of a local reply.
  virtual void onResponseHead(http::ResponseHead&) {}
  // The request needs another slot than this one, and its body is still whole. The filter that gave
  // the slot takes it back, continues the request once there is another, and returns true.
  virtual bool onPutBack(Slot&, RetryCause) { return false; }
  // Of the last filter: whether a replica may have begun the request.
  virtual bool mayHaveBegun() const { return true; }
  // The time asked for by Exchange::setTimer() has come.
  virtual void onTimer() {}
  // The client can take more of the response.
  virtual void onResponseSendReady() {}
  // Nobody needs the request to go on: leave queues, abandon attempts. Called once before the end,
  // if not earlier, when the answer has been decided without the replica.
  virtual void onRequestDropped() {}
  // The exchange is over, in one outcome.
  virtual void onExchangeEnd(const ExchangeReport&) {}
};

}  // namespace penstock::proxy
