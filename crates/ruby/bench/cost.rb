# Measures the time of calls with values of 200 bytes, and compares it with a Hash, and with the stores of Rails if they
# are available:
#
#     ruby bench/cost.rb
#
# Each figure is the best of many short rounds: on a busy machine most rounds are disturbed, and the best ones are not.

require "kennel"
require "tmpdir"

CALLS = 2_000
ROUNDS = 100
KEYS = Array.new(1_000) { |i| "user:#{i}:profile" }
TEXT = "v" * 200

# Returns how many nanoseconds a call takes.
def cost(rounds = ROUNDS)
  Array.new(rounds) do
    since = Process.clock_gettime(Process::CLOCK_MONOTONIC, :nanosecond)
    i = 0
    while i < CALLS
      yield KEYS[i % KEYS.size]
      i += 1
    end
    (Process.clock_gettime(Process::CLOCK_MONOTONIC, :nanosecond) - since).fdiv(CALLS)
  end.min
end

def report(who, what, cost)
  puts format("%-18s %-12s %7.0f ns", who, what, cost)
end

def stores
  require "active_support"
  require "active_support/cache"
  require "active_support/cache/kennel_store"
  Dir.mktmpdir("kennel-files-") do |files|
    [["KennelStore", ActiveSupport::Cache::KennelStore.new(File.join(files, "rails.cache"))],
     ["MemoryStore", ActiveSupport::Cache::MemoryStore.new],
     ["FileStore", ActiveSupport::Cache::FileStore.new(files)]].each do |who, store|
      report(who, "write", cost(10) { |key| store.write(key, TEXT) })
      report(who, "read", cost(10) { |key| store.read(key) })
    end
  end
rescue LoadError => error
  puts "left out: the stores of Rails, since #{error.message}"
end

Dir.mktmpdir("kennel-cost-", File.directory?("/dev/shm") ? "/dev/shm" : nil) do |folder|
  cache = Kennel.open(File.join(folder, "cost.cache"))
  report("kennel", "set", cost { |key| cache.set(key, TEXT) })
  report("kennel", "get", cost { |key| cache[key] })
  report("kennel", "a miss", cost { cache["no such key"] })
  hash = {}
  report("Hash", "set", cost { |key| hash[key] = TEXT })
  report("Hash", "get", cost { |key| hash[key] })
  stores
end
