# frozen_string_literal: true

module Kennel
  # An open cache file, or one namespace in it. Threads may share it, and a forked child may continue to use it.
  #
  # Keys and values are strings of bytes. Strings that are read have the encoding UTF-8. Times are in seconds. For a
  # time to live, nil stands for the default of the namespace, and Kennel::NEVER for no end.
  class Cache
    private_class_method :new

    # Converts seconds to milliseconds for the library: 0 stands for the default, and -1 for no end.
    def self.ms(seconds)
      return 0 if seconds.nil?
      return -1 if seconds == Float::INFINITY
      raise ArgumentError, "expected a positive number of seconds, found #{seconds.inspect}" unless seconds.to_f.positive?

      (seconds.to_f * 1000).ceil
    end

    # Converts names of tags to strings for the library.
    def self.tags(tags)
      tags && Array(tags).map(&:to_s)
    end

    alias [] get
    alias has_key? key?

    # Returns a hash of the keys that have a value, with their values, by one call of the library.
    def get_multi(*keys)
      _get_multi(keys.flatten)
    end

    # Stores a value and returns it. +ttl+ is the time to live, +soft_ttl+ the time after which the value is stale,
    # +flags+ a number that is stored with the value. +tags+ are at most 16 names, by which invalidate_tags finds the
    # value.
    def set(key, value, ttl: nil, soft_ttl: nil, flags: 0, tags: nil)
      _store(0, key, value, Cache.ms(ttl), Cache.ms(soft_ttl), flags, Cache.tags(tags))
      value
    end

    # Stores the values of a hash, all with the same options, by one call of the library. If some values cannot be
    # stored, the others are stored, and the first error is raised.
    def set_multi(values, ttl: nil, soft_ttl: nil, flags: 0, tags: nil)
      _set_multi(values.to_a.flatten(1), Cache.ms(ttl), Cache.ms(soft_ttl), flags, Cache.tags(tags))
      values
    end

    # Removes many keys by one call of the library. Returns how many of them had a value.
    def delete_multi(*keys)
      _delete_multi(keys.flatten)
    end

    def []=(key, value)
      set(key, value)
    end

    # Stores a value only if the key has none. Returns whether it was stored.
    def add(key, value, ttl: nil, soft_ttl: nil, flags: 0, tags: nil)
      _store(1, key, value, Cache.ms(ttl), Cache.ms(soft_ttl), flags, Cache.tags(tags))
    end

    # Stores a value only if the key already has one. Returns whether it was stored.
    def replace(key, value, ttl: nil, soft_ttl: nil, flags: 0, tags: nil)
      _store(2, key, value, Cache.ms(ttl), Cache.ms(soft_ttl), flags, Cache.tags(tags))
    end

    def touch(key, ttl: nil)
      _touch(key, Cache.ms(ttl))
    end

    # Adds to a number, and returns the new number. If the key has no value, stores and returns +initial+, with the time
    # to live and the tags; without +initial+, returns nil.
    def incr(key, delta = 1, initial: nil, ttl: nil, tags: nil)
      _count(key, delta.negative?, delta.abs, initial, Cache.ms(ttl), Cache.tags(tags))
    end

    def decr(key, delta = 1, initial: nil, ttl: nil, tags: nil)
      incr(key, -delta, initial: initial, ttl: ttl, tags: tags)
    end

    # Returns the value of a key. If it is missing or stale, exactly one caller across all processes calls the block,
    # with the stale value or nil, and stores its result. If it is missing, the others wait for the result. If the block
    # returns nil, the key has no value, which is remembered for +absent_ttl+, if given.
    #
    # If the cache itself fails, or +wait+ is over, the block is called, and its result is not stored; with +strict+ an
    # error is raised instead. With +unprotected+ the result is stored when +wait+ is over. A value is not stored if one
    # of its +tags+ was invalidated while the block ran.
    def fetch(key, ttl: nil, soft_ttl: nil, absent_ttl: nil, wait: 30, unprotected: false, strict: false, tags: nil)
      bits = (unprotected ? 1 : 0) | (strict ? 0 : 2)
      times = [ttl, soft_ttl, absent_ttl].map { |time| Cache.ms(time) }
      value, claim = await(_ask(key, *times, wait.zero? ? 0 : Cache.ms(wait), bits, Cache.tags(tags)))
      return value if claim.nil?

      create(claim, strict) { yield value }
    end

    # Takes the lock of a key, calls the block, and releases the lock. Raises an error with the code :timed_out if
    # another caller still has the lock when +wait+ is over. The lock excludes all callers, in all processes, that lock
    # the key or create its value, and ends with its process. After +max_age+ another caller may take it over; by
    # default never.
    def lock(key, wait: 30, max_age: nil)
      limit = now + wait
      seconds = 0.001
      until (number = _lock(key, Cache.ms(max_age)))
        raise Error.new(-20, "another caller has the lock, after a wait of #{wait} s", "") if now >= limit

        sleep(seconds)
        seconds = [seconds * 1.25, 0.02].min
      end
      begin
        yield
      ensure
        _unlock(number)
      end
    end

    # Returns the keys that begin with a prefix. This is not a snapshot: a key may appear twice.
    def keys(prefix = "")
      _keys(prefix)
    end

    # Removes all values of the namespace, or of the whole file, for all processes. With +soft+, makes them stale
    # instead.
    def invalidate(soft: false)
      _invalidate(soft)
    end

    # Removes all values that bear one of the tags, in all namespaces and for all processes. With +soft+, makes them
    # stale instead.
    def invalidate_tags(*tags, soft: false)
      _invalidate_tags(Cache.tags(tags.flatten), soft)
    end

    # Opens a part of the file with keys of its own. +ttl+ is the default time to live of its values.
    def namespace(name, ttl: nil)
      _part(name, Cache.ms(ttl))
    end

    # Returns the statistics of the file, as "kennel stat --json" prints them.
    def stats
      require "json"
      JSON.parse(_stats)
    end

    private

    def now
      Process.clock_gettime(Process::CLOCK_MONOTONIC)
    end

    # Waits for the answer to a request. Other threads and fibers run meanwhile.
    def await(request)
      seconds = 0.001
      until (answer = _poll(request))
        sleep(seconds)
        seconds = [seconds * 1.25, 0.02].min
      end
      answer
    ensure
      # An exception, such as that of Timeout, ended the wait.
      _withdraw(request) unless answer
    end

    def create(claim, strict)
      made = yield
      begin
        _complete(claim, made)
      rescue Error
        # The block succeeded, so its caller gets the value although the cache cannot store it.
        raise if strict
      end
      made
    ensure
      # Does nothing if the claim has ended.
      _fail(claim)
    end
  end
end
