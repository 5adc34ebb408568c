#include "model_runtime/cuda/workspace_pool.h"

#include <utility>

#include "base/check.h"

namespace penstock::runtime::cuda {

WorkspacePool::WorkspacePool(std::vector<std::unique_ptr<Workspace>> workspaces)
    : all_(std::move(workspaces)) {
  free_.reserve(all_.size());
  for (const auto& workspace : all_) {
    free_.push_back(workspace.get());
  }
}

WorkspacePool::~WorkspacePool() {
  PENSTOCK_CHECK(free_.size() == all_.size(), "the pool outlives its leases");
}

WorkspacePool::Lease WorkspacePool::take() {
  std::unique_lock lock(mutex_);
  came_back_.wait(lock, [this] { return !free_.empty(); });
  Workspace* workspace = free_.back();
  free_.pop_back();
  return Lease(workspace, Return(this));
}

std::size_t WorkspacePool::taken() const {
  std::lock_guard lock(mutex_);
  return all_.size() - free_.size();
}

void WorkspacePool::giveBack(Workspace* workspace) {
  workspace->settle();
  {
    std::lock_guard lock(mutex_);
    free_.push_back(workspace);
  }
  came_back_.notify_one();
}

}  // namespace penstock::runtime::cuda
