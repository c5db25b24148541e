# frozen_string_literal: true

require "minitest/autorun"
require "fileutils"
require "tmpdir"
require "timeout"
require "kennel"

class KennelTest < Minitest::Test
  def setup
    @folder = Dir.mktmpdir("kennel-ruby-", Dir.exist?("/dev/shm") ? "/dev/shm" : nil)
    @path = File.join(@folder, "cache")
    @cache = Kennel.open(@path)
  end

  def teardown
    FileUtils.rm_rf(@folder)
  end

  def assert_code(code, &block)
    assert_equal code, assert_raises(Kennel::Error, &block).code
  end

  # Runs a block in a forked child, which must succeed.
  def in_child
    fork do
      yield
      exit!(0)
    rescue Exception => e # rubocop:disable Lint/RescueException
      warn e.full_message
      exit!(1)
    end
  end

  def assert_ends_well(pid)
    assert_predicate Process.wait2(pid).last, :success?
  end

  def test_values
    ["", "key", "é", "with\0zero", "x" * 5000].each do |key|
      ["", "value", "naïve 日本", "y" * 100_000].each do |value|
        @cache[key] = value
        assert_equal value, @cache[key]
      end
      @cache[key] = "\xff\x00".b
      assert_equal "\xff\x00".b, @cache[key].b
      assert @cache.key?(key)
      assert @cache.delete(key)
      refute @cache.delete(key)
      assert_nil @cache[key]
    end
    @cache.set("short", "x", ttl: 0.03)
    sleep 0.06
    assert_nil @cache["short"]
    @cache.set("a", "1", flags: 5)
    assert_equal({ "a" => "1" }, @cache.get_multi("a", "none"))
    @cache["bytes"] = "\0\xFF".b
    @cache["empty"] = ""
    expected = { "bytes" => "\0\xFF", "a" => "1", "empty" => "" }
    assert_equal(expected, @cache.get_multi(["bytes", "none"], "a", "empty", "a"))
    assert_equal({}, @cache.get_multi)
    assert_raises(TypeError) { @cache.get_multi("a", 1) }
    refute @cache.add("a", "2")
    assert @cache.replace("a", "3", ttl: Kennel::NEVER)
    assert @cache.touch("a", ttl: 0.02)
    sleep 0.05
    refute @cache.replace("a", "4")
    assert_raises(ArgumentError) { @cache.set("a", "b", ttl: -1) }
    assert_raises(TypeError) { @cache.set("a", 5) }
    assert_raises(TypeError) { @cache.get(nil) }
  end

  def test_many_keys
    values = { "a" => "1", "" => "", "é" => "x" * 100_000 }
    assert_equal values, @cache.set_multi(values, ttl: 60, flags: 3)
    @cache.set_multi([["a", "2"], ["a", "last"]])
    assert_equal values.merge("a" => "last"), @cache.get_multi(values.keys)
    assert_equal 3, @cache.delete_multi("none", values.keys, "a")
    assert_equal 0, @cache.delete_multi(values.keys)
    assert_equal [{}, 0, {}], [@cache.set_multi({}), @cache.delete_multi, @cache.get_multi]
    assert_code(:key_too_long) { @cache.set_multi({ "a" => "1", "x" * 70_000 => "2", "b" => "3" }) }
    assert_equal({ "a" => "1", "b" => "3" }, @cache.get_multi("a", "b"))
    assert_raises(TypeError) { @cache.set_multi({ "a" => 5 }) }
    assert_raises(TypeError) { @cache.delete_multi("a", 5) }
    assert_equal 2, @cache.delete_multi(%w[a b])
    # Objects that are collected meanwhile are no longer needed.
    GC.stress = true
    @cache.set_multi({ "a#{1}" => "b#{1}" }, tags: ["c#{1}"])
    assert_equal 1, @cache.delete_multi("a#{1}")
  ensure
    GC.stress = false
  end

  def test_tags
    pages = @cache.namespace("pages")
    lost = ->(*keys) { keys.reject { |key| pages.key?(key) } }
    pages.set("a", "1", tags: ["user:7", "größe"])
    pages.set_multi({ "b" => "2", "c" => "3" }, tags: "user:8", ttl: 60)
    assert pages.add("d", "4", tags: [:all])
    pages["e"] = "5"
    assert pages.replace("e", "6", tags: ["user:9"])
    pages.incr("f", 1, initial: 1, tags: ["user:10"])
    assert_equal "made", pages.fetch("g", tags: ["user:11"]) { "made" }
    pages.set("h", "8", tags: [])
    @cache.invalidate_tags
    @cache.invalidate_tags("user:12")
    assert_empty lost.call("a", "b", "c", "d", "e", "f", "g", "h")
    @cache.invalidate_tags("größe", :all)
    assert_equal %w[a d], lost.call("a", "b", "c", "d", "e", "f", "g", "h")
    @cache.invalidate_tags(%w[user:8 user:9 user:10 user:11])
    assert_equal %w[a b c d e f g], lost.call("a", "b", "c", "d", "e", "f", "g", "h")
    pages.set("a", "1", tags: ["user:7"])
    pages.invalidate_tags("user:7", soft: true)
    assert_equal "1", pages["a"]
    assert_equal "2", pages.fetch("a") { |stale| stale.succ }
    sixteen = (1..16).map(&:to_s)
    pages.set("a", "3", tags: sixteen)
    assert_code(:too_many_tags) { pages.set("a", "4", tags: [*sixteen, "17"]) }
    assert_code(:too_many_tags) { pages.set_multi({ "a" => "4" }, tags: [*sixteen, "17"]) }
    assert_equal "3", pages["a"]
  end

  def test_what_is_invalidated_while_it_is_created_is_not_stored
    made = @cache.fetch("key", tags: ["user:7"]) do
      @cache.invalidate_tags("user:7")
      "old"
    end
    assert_equal "old", made
    assert_nil @cache["key"]
  end

  def test_numbers
    assert_nil @cache.incr("n")
    assert_equal 5, @cache.incr("n", 1, initial: 5, ttl: 60)
    assert_equal 7, @cache.incr("n", 2)
    assert_equal 6, @cache.incr("n", -1)
    assert_equal 4, @cache.decr("n", 2)
    assert_code(:overflow) { @cache.decr("n", 5) }
    assert_equal 2**64 - 1, @cache.incr("n", 2**64 - 5)
    @cache["n"] = "x"
    assert_code(:not_a_number) { @cache.incr("n") }
  end

  def test_errors
    error = assert_raises(Kennel::Error) { Kennel.open("#{@path}.none", existing: true) }
    assert_equal [:not_found, -2], [error.code, error.number]
    assert_includes error.message, "existing: true"
    refute_includes error.message, "KENNEL_"
    assert_raises(ArgumentError) { Kennel.open(@path, size: 5) }
    assert_code(:mismatch) { Kennel.open(@path, capacity: 8 << 20, same_sizes: true) }
    assert_code(:bad_file) { Kennel.open(@folder) }
    assert_code(:bad_option) { Kennel.open(@path, locks: "spin") }
    assert_code(:read_only) { Kennel.open(@path, read_only: true)["a"] = "b" }
    assert_code(:key_too_long) { @cache["x" * 70_000] = "" }
    assert_code(:too_large) { @cache["x"] = "x" * (40 << 20) }
    @cache.close
    assert_code(:closed) { @cache["a"] }
    assert_code(:closed) { Kennel::Cache.allocate["a"] }
    assert Kennel.destroy(@path)
    refute Kennel.destroy(@path)
  end

  def test_namespaces
    pages = @cache.namespace("pages", ttl: 60)
    pages["a"] = "page"
    @cache["a"] = "top"
    300.times { |i| pages["many:#{i}"] = "x" }
    assert_equal 300, pages.keys("many:").uniq.size
    pages.invalidate
    assert_nil pages["a"]
    assert_equal "top", @cache["a"]
    assert_includes @cache.stats.keys, "hit_ratio"
    assert_equal Kennel::VERSION, Kennel::LIBRARY_VERSION
  end

  def test_of_all_threads_one_creates
    created = 0
    threads = Array.new(20) do
      Thread.new do
        @cache.fetch("key") do |stale|
          assert_nil stale
          created += 1
          sleep 0.1
          "made"
        end
      end
    end
    assert_equal ["made"], threads.map(&:value).uniq
    assert_equal 1, created
  end

  def test_creators
    assert_raises(ZeroDivisionError) { @cache.fetch("key") { 1 / 0 } }
    refute @cache.claimed?("key")
    assert_equal :left, catch(:out) { @cache.fetch("key") { throw :out, :left } }
    refute @cache.claimed?("key")
    assert_raises(TypeError) { @cache.fetch("key") { 5 } }
    assert_nil(@cache.fetch("key", absent_ttl: 60) { nil })
    assert_nil(@cache.fetch("key") { flunk })
    big = "x" * (40 << 20)
    assert_same big, @cache.fetch("big") { big }
    assert_code(:too_large) { @cache.fetch("big", strict: true) { big } }
    @cache.set("stale", "old", soft_ttl: 0.001)
    sleep 0.02
    assert_equal "old and new", @cache.fetch("stale") { |stale| "#{stale} and new" }
  end

  def test_waits_have_limits
    claimed = Queue.new
    finish = Queue.new
    creator = Thread.new { @cache.fetch("key") { claimed << true; finish.pop } }
    claimed.pop
    assert_code(:timed_out) { @cache.fetch("key", wait: 0.03, strict: true) { flunk } }
    assert_equal "own", @cache.fetch("key", wait: 0.03) { "own" }
    assert_raises(Timeout::Error) { Timeout.timeout(0.05) { @cache.fetch("key") { flunk } } }
    assert_code(:timed_out) { @cache.lock("key", wait: 0.03) { flunk } }
    finish << "made"
    assert_equal "made", creator.value
    assert_equal(5, @cache.lock("key") { assert(@cache.claimed?("key")) && 5 })
    refute @cache.claimed?("key")
  end

  def test_forks_share_the_file
    @cache["of the parent"] = "seen"
    children = Array.new(3) do
      in_child do
        raise "not seen" unless @cache["of the parent"] == "seen"

        1000.times { @cache.incr("count", 1, initial: 1) }
        value = @cache.fetch("herd") { @cache.incr("created", 1, initial: 1); sleep 0.2; "made" }
        raise value unless value == "made"
      end
    end
    children.each { |pid| assert_ends_well(pid) }
    assert_equal %w[3000 1 made], [@cache["count"], @cache["created"], @cache["herd"]]
  end

  def test_a_killed_creator_is_succeeded
    reader, writer = IO.pipe
    child = fork do
      @cache.fetch("key") { writer.write("x"); sleep }
    end
    reader.read(1)
    waiting = Thread.new { @cache.fetch("key") { "after it" } }
    sleep 0.05
    Process.kill(:KILL, child)
    Process.wait(child)
    assert_equal "after it", Timeout.timeout(10) { waiting.value }
  end

  def test_a_claim_of_the_parent_is_not_ended_by_its_child
    @cache.fetch("key") do
      assert_ends_well(in_child { raise "free" unless @cache.claimed?("key") })
      assert @cache.claimed?("key")
      "made"
    end
    assert_equal "made", @cache["key"]
  end
end
