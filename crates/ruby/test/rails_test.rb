# frozen_string_literal: true

# Tests the store for Rails. If RAILS_TESTS is set to the folder activesupport/test of Rails' source, Rails' own tests
# of stores run, too.

require "minitest/autorun"
require "fileutils"
require "tmpdir"
require "logger"
require "active_support"
require "active_support/test_case"
require "active_support/testing/method_call_assertions"
require "active_support/core_ext"
require "active_support/cache"
require "active_support/cache/kennel_store"

module KennelStoreSetup
  def setup
    @folder = Dir.mktmpdir("kennel-rails-", Dir.exist?("/dev/shm") ? "/dev/shm" : nil)
    @cache = lookup_store(expires_in: 60)
    @peek = lookup_store(expires_in: 60)
    @buffer = StringIO.new
    @cache.logger = Logger.new(@buffer)
  end

  def lookup_store(options = {})
    ActiveSupport::Cache.lookup_store(:kennel_store, File.join(@folder, "cache"), options)
  end

  def teardown
    FileUtils.rm_rf(@folder)
  end
end

class KennelStoreTest < ActiveSupport::TestCase
  include KennelStoreSetup

  def test_clear_keeps_what_others_store
    other = Kennel.open(File.join(@folder, "cache"))
    other["mine"] = "kept"
    @cache.write("a", [1, { b: 2 }])
    assert_equal [1, { b: 2 }], @peek.read("a")
    @cache.clear
    assert_nil @peek.read("a")
    assert_equal "kept", other["mine"]
  end

  def test_options_of_the_file
    store = ActiveSupport::Cache.lookup_store(:kennel_store, File.join(@folder, "small"), capacity: 4 << 20, part: "mine", namespace: "n")
    assert_equal false, store.write("big", "x" * (8 << 20), compress: false)
    assert store.write("a", 1)
    assert_equal ["n:a"], store.cache.keys
  end

  def test_numbers_of_rails_and_raw_ones
    @cache.write("entry", 5, expires_in: 60)
    assert_equal 6, @cache.increment("entry")
    assert_equal 6, @peek.read("entry")
    @cache.write("raw", 5, raw: true)
    children = Array.new(3) { fork { 100.times { @cache.increment("raw") }; exit!(0) } }
    children.each { |pid| Process.wait(pid) }
    assert_equal "305", @peek.read("raw", raw: true)
    assert_nil @cache.increment("none")
  end

  def test_many_are_read_by_one_call
    @cache.write("a", { b: 1 }, version: 1)
    @cache.write("nil", nil)
    @cache.write("raw", 5, raw: true)
    @cache.write("old", 1, expires_in: 0.01, race_condition_ttl: 10)
    sleep 0.05
    assert_equal({ "a" => { b: 1 }, "nil" => nil }, @peek.read_multi("a", "nil", "none", "old"))
    assert_equal({}, @peek.read_multi("a", version: 2))
    assert_equal({ "raw" => "5" }, @peek.read_multi("raw", raw: true))
    assert_equal({ "a" => { b: 1 }, "new" => "made" }, @peek.fetch_multi("a", "new") { "made" })
    assert_not_includes @cache.cache.keys, "old"
    assert_equal({}, @peek.read_multi)
  end

  def test_many_are_written_and_removed_by_one_call
    @cache.write_multi({ "a" => { b: 1 }, "nil" => nil }, expires_in: 60)
    @cache.write_multi({ "raw" => 5 }, raw: true)
    assert_equal({ "a" => { b: 1 }, "nil" => nil }, @peek.read_multi("a", "nil", "none"))
    assert_equal "5", @peek.read("raw", raw: true)
    assert_equal 2, @cache.delete_multi(%w[a none raw])
    assert_equal ["nil"], @cache.cache.keys
    # An expired entry is removed.
    @cache.write_multi({ "nil" => 1 }, expires_in: -1)
    assert_empty @cache.cache.keys
    @cache.write_multi({ "a" => 1 })
    @cache.write_multi({ "a" => 2, "b" => 2 }, unless_exist: true)
    assert_equal({ "a" => 1, "b" => 2 }, @peek.read_multi("a", "b"))
  end

  def test_calls_for_many_keys_within_a_request
    @cache.with_local_cache do
      @cache.write("a", 1)
      @cache.write_multi({ "a" => 2, "b" => 2 })
      assert_equal [2, 2], [@cache.read("a"), @cache.read("b")]
      @cache.delete_multi(["a"])
      assert_equal [nil, 2], [@cache.read("a"), @cache.read("b")]
      @cache.write("a", 3, tags: ["user:7"])
      assert_equal 3, @cache.read("a")
      @cache.invalidate_tags("user:7")
      assert_nil @cache.read("a")
    end
    assert_equal({ "b" => 2 }, @peek.read_multi("a", "b"))
  end

  def test_tags
    @cache.write("a", 1, tags: ["user:7", "page:1"])
    @cache.write_multi({ "b" => 2, "c" => 3 }, tags: :"user:8")
    assert_equal 4, @cache.fetch("d", tags: ["user:8"]) { 4 }
    @cache.write("e", 5)
    mine = lookup_store(namespace: "mine")
    mine.write("a", 6, tags: ["user:7"])
    @peek.invalidate_tags("user:9")
    assert_equal [1, 2, 3, 4, 5], @peek.read_multi("a", "b", "c", "d", "e").values
    # A namespace separates tags.
    mine.invalidate_tags("user:7")
    assert_nil mine.read("a")
    assert_equal 1, @peek.read("a")
    mine.write("a", 6, tags: ["user:7"])
    @peek.invalidate_tags("user:7", ["user:8"])
    assert_equal({ "e" => 5 }, @peek.read_multi("a", "b", "c", "d", "e"))
    assert_equal 6, mine.read("a")
    @peek.invalidate_tags("user:7", namespace: "mine")
    assert_nil mine.read("a")
    assert_equal false, @cache.write("a", 1, tags: (1..17).map(&:to_s))
    assert_match(/tags/, @buffer.string)
  end

  def test_entries_expire_in_the_file
    @cache.write("a", 1, expires_in: 0.05)
    @cache.write("b", 1, expires_in: 0.05, race_condition_ttl: 10)
    sleep 0.1
    assert_equal ["b"], @cache.cache.keys
    assert_nil @cache.read("a")
    assert @cache.write("c", 1, unless_exist: true)
    assert_not @cache.write("c", 2, unless_exist: true)
  end

  def test_a_cache_that_fails_is_a_miss
    @cache.cache.close
    assert_nil @cache.read("a")
    assert_equal({}, @cache.read_multi("a", "b"))
    assert_equal false, @cache.write("a", 1)
    assert_equal 1, @cache.fetch("a") { 1 }
    assert_not @cache.delete("a")
    @cache.write_multi({ "a" => 1 })
    assert_equal 0, @cache.delete_multi(["a"])
    assert_nil @cache.invalidate_tags("a")
    assert_nil @cache.increment("a")
    assert_match(/the cache is closed/, @buffer.string)
  end
end

if (tests = ENV["RAILS_TESTS"])
  class ActiveSupport::TestCase
    include ActiveSupport::Testing::MethodCallAssertions
  end
  ActiveSupport.to_time_preserves_timezone = true
  require File.join(tests, "cache/behaviors")

  class KennelStoreBehaviorTest < ActiveSupport::TestCase
    include KennelStoreSetup
    include CacheStoreBehavior
    include CacheStoreVersionBehavior
    include CacheStoreCoderBehavior
    include LocalCacheBehavior
    include CacheDeleteMatchedBehavior
    include CacheIncrementDecrementBehavior
    include CacheInstrumentationBehavior
    include EncodedKeyCacheBehavior
  end
else
  puts "left out: Rails' own tests of stores; on Debian: apt-get source rails, and RAILS_TESTS=.../activesupport/test"
end
