#include "sidecar/system_load.h"

#include <gtest/gtest.h>

#include "tests/support/temporary_folder.h"

namespace penstock::sidecar {
namespace {

using namespace std::chrono_literals;

constexpr TimePoint kStart = TimePoint() + 1h;
constexpr char kMachine[] = "MemTotal: 1000 kB\nMemFree: 10 kB\nMemAvailable: 250 kB\n";

TEST(SystemLoad, IsThatOfTheControlGroupAgainstItsLimits) {
  const TemporaryFolder root;
  root.write("proc/meminfo", kMachine);
  root.write("proc/self/cgroup", "0::/pod\n");
  root.write("sys/fs/cgroup/pod/memory.current", "307200\n");
  root.write("sys/fs/cgroup/pod/memory.stat", "anon 1\ninactive_file 102400\n");
  root.write("sys/fs/cgroup/pod/memory.max", "409600\n");
  root.write("sys/fs/cgroup/pod/cpu.stat", "usage_usec 1000000\nuser_usec 1\n");
  root.write("sys/fs/cgroup/pod/cpu.max", "50000 100000\n");
  SystemLoad load(root.path() + "/");
  EXPECT_EQ(load.read(kStart).mem_utilization, 0.5);

  root.write("sys/fs/cgroup/pod/cpu.stat", "usage_usec 1500000\nuser_usec 1\n");
  EXPECT_DOUBLE_EQ(load.read(kStart + 2s).cpu_utilization, 0.5);
}

TEST(SystemLoad, OfAGroupWithoutLimitsIsAgainstTheMachine) {
  const TemporaryFolder root;
  root.write("proc/meminfo", kMachine);
  root.write("proc/self/cgroup", "0::/seen/from/outside\n");
  root.write("sys/fs/cgroup/memory.current", "256000\n");
  root.write("sys/fs/cgroup/memory.max", "max\n");
  root.write("sys/fs/cgroup/cpu.max", "max 100000\n");
  EXPECT_EQ(SystemLoad(root.path() + "/").read(kStart).mem_utilization, 0.25);
}

TEST(SystemLoad, ReadsVersionOneToo) {
  const TemporaryFolder root;
  root.write("proc/meminfo", kMachine);
  root.write("proc/self/cgroup", "5:memory:/pod\n4:cpu,cpuacct:/pod\n1:name=systemd:/x\n");
  root.write("sys/fs/cgroup/memory/pod/memory.usage_in_bytes", "300000\n");
  root.write("sys/fs/cgroup/memory/pod/memory.limit_in_bytes", "400000\n");
  root.write("sys/fs/cgroup/cpu,cpuacct/pod/cpuacct.usage", "1000000000\n");
  root.write("sys/fs/cgroup/cpu,cpuacct/pod/cpu.cfs_quota_us", "50000\n");
  root.write("sys/fs/cgroup/cpu,cpuacct/pod/cpu.cfs_period_us", "100000\n");
  SystemLoad load(root.path() + "/");
  EXPECT_EQ(load.read(kStart).mem_utilization, 0.75);

  root.write("sys/fs/cgroup/cpu,cpuacct/pod/cpuacct.usage", "2500000000\n");
  EXPECT_DOUBLE_EQ(load.read(kStart + 1s).cpu_utilization, 3);
}

TEST(SystemLoad, WithoutAGroupIsThatOfTheMachine) {
  const TemporaryFolder root;
  root.write("proc/meminfo", kMachine);
  EXPECT_EQ(SystemLoad(root.path() + "/").read(kStart).mem_utilization, 0.75);
}

TEST(SystemLoad, IsZeroWhereNothingCanBeRead) {
  const TemporaryFolder root;
  SystemLoad load(root.path() + "/");
  load.read(kStart);
  const SystemLoad::Sample sample = load.read(kStart + 1s);
  EXPECT_EQ(sample.cpu_utilization, 0);
  EXPECT_EQ(sample.mem_utilization, 0);
}

}  // namespace
}  // namespace penstock::sidecar
