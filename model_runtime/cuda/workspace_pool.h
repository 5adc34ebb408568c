#pragma once

#include <condition_variable>
#include <cstddef>
#include <memory>
#include <mutex>
#include <vector>

#include "model_runtime/cuda/workspace.h"

namespace penstock::runtime::cuda {

// A device's workspaces. There are as many as requests may be between stage and collect, so taking
// one waits for nothing but a result on its way to the host. Thread-safe; outlives its leases.
class WorkspacePool {
 public:
  class Return {
   public:
    explicit Return(WorkspacePool* pool = nullptr) : pool_(pool) {}
    void operator()(Workspace* workspace) const { pool_->giveBack(workspace); }

   private:
    WorkspacePool* pool_;
  };
  // A workspace that comes back when this is destroyed, once nothing enqueued uses it.
  using Lease = std::unique_ptr<Workspace, Return>;

  explicit WorkspacePool(std::vector<std::unique_ptr<Workspace>> workspaces);
  ~WorkspacePool();
  WorkspacePool(const WorkspacePool&) = delete;
  WorkspacePool& operator=(const WorkspacePool&) = delete;

  // Sleeps until one is free. The one that came back last: its buffers have likely grown.
  Lease take();
  std::size_t taken() const;

 private:
  void giveBack(Workspace* workspace);

  const std::vector<std::unique_ptr<Workspace>> all_;
  mutable std::mutex mutex_;  // guards free_
  std::condition_variable came_back_;
  std::vector<Workspace*> free_;
};

}  // namespace penstock::runtime::cuda
