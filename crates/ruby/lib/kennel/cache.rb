# frozen_string_literal: true

module Kennel
  # An open file, or one namespace in it. Threads may share it, and a forked child may go on using it.
  #
  # Keys and values are strings of bytes; what is read has the encoding UTF-8. Times are in seconds; a time to live of nil is
  # the default of the namespace, and Kennel::NEVER no end.
  class Cache
    private_class_method :new

    # Milliseconds for the library: 0 is the default, and -1 no end.
    def self.ms(seconds)
      return 0 if seconds.nil?
      return -1 if seconds == Float::INFINITY
      raise ArgumentError, "expected a positive number of seconds, found #{seconds.inspect}" unless seconds.to_f.positive?

      (seconds.to_f * 1000).ceil
    end

    # Names of tags for the library.
    def self.tags(tags)
      tags && Array(tags).map(&:to_s)
    end

    alias [] get
    alias has_key? key?

    # The values of those keys that have one, by their keys, in one call.
    def get_multi(*keys)
      _get_multi(keys.flatten)
    end

    # Stores a value. By its +tags+, at most 16 names, invalidate_tags finds it.
    def set(key, value, ttl: nil, soft_ttl: nil, flags: 0, tags: nil)
      _store(0, key, value, Cache.ms(ttl), Cache.ms(soft_ttl), flags, Cache.tags(tags))
      value
    end

    # Stores the values of a hash, all with the same options, in one call. If some cannot be stored, the others are, and the
    # error is that of the first one.
    def set_multi(values, ttl: nil, soft_ttl: nil, flags: 0, tags: nil)
      _set_multi(values.to_a.flatten(1), Cache.ms(ttl), Cache.ms(soft_ttl), flags, Cache.tags(tags))
      values
    end

    # Removes many keys in one call, and tells how many of them had a value.
    def delete_multi(*keys)
      _delete_multi(keys.flatten)
    end

    def []=(key, value)
      set(key, value)
    end

    # Stores a value if the key has none, and tells whether it did.
    def add(key, value, ttl: nil, soft_ttl: nil, flags: 0, tags: nil)
      _store(1, key, value, Cache.ms(ttl), Cache.ms(soft_ttl), flags, Cache.tags(tags))
    end

    # Stores a value if the key has one, and tells whether it did.
    def replace(key, value, ttl: nil, soft_ttl: nil, flags: 0, tags: nil)
      _store(2, key, value, Cache.ms(ttl), Cache.ms(soft_ttl), flags, Cache.tags(tags))
    end

    def touch(key, ttl: nil)
      _touch(key, Cache.ms(ttl))
    end

    # Adds to a number. If the key has none: nil, or +initial+ is stored, with the time to live and the tags.
    def incr(key, delta = 1, initial: nil, ttl: nil, tags: nil)
      _count(key, delta.negative?, delta.abs, initial, Cache.ms(ttl), Cache.tags(tags))
    end

    def decr(key, delta = 1, initial: nil, ttl: nil, tags: nil)
      incr(key, -delta, initial: initial, ttl: ttl, tags: tags)
    end

    # The value of a key. Of all callers in all processes one calls the block, with the stale value or nil, and the others
    # wait for what it returns. A block that returns nil tells that there is no value.
    #
    # If the cache itself fails, or the wait is over, the block is called all the same; with +strict+ that raises. A value is
    # not stored if one of its +tags+ was invalidated while the block ran.
    def fetch(key, ttl: nil, soft_ttl: nil, absent_ttl: nil, wait: 30, unprotected: false, strict: false, tags: nil)
      bits = (unprotected ? 1 : 0) | (strict ? 0 : 2)
      times = [ttl, soft_ttl, absent_ttl].map { |time| Cache.ms(time) }
      value, claim = await(_ask(key, *times, wait.zero? ? 0 : Cache.ms(wait), bits, Cache.tags(tags)))
      return value if claim.nil?

      create(claim, strict) { yield value }
    end

    # Calls the block while a lock of the key is held, or raises an error with the code :timed_out. The lock excludes all that
    # lock or create the key, in all processes, and ends with its process.
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

    # The keys that begin with a prefix, one of them perhaps twice.
    def keys(prefix = "")
      _keys(prefix)
    end

    # Invalidates all values of the namespace, or of the file, for all processes.
    def invalidate(soft: false)
      _invalidate(soft)
    end

    # Invalidates all values that bear one of the tags, in all namespaces and processes.
    def invalidate_tags(*tags, soft: false)
      _invalidate_tags(Cache.tags(tags.flatten), soft)
    end

    # A part of the file with keys of its own.
    def namespace(name, ttl: nil)
      _part(name, Cache.ms(ttl))
    end

    # The statistics, as "kennel stat --json" prints them.
    def stats
      require "json"
      JSON.parse(_stats)
    end

    private

    def now
      Process.clock_gettime(Process::CLOCK_MONOTONIC)
    end

    # The answer to a request. Other threads and fibers go on meanwhile.
    def await(request)
      seconds = 0.001
      until (answer = _poll(request))
        sleep(seconds)
        seconds = [seconds * 1.25, 0.02].min
      end
      answer
    ensure
      # After an exception, such as that of Timeout.
      _withdraw(request) unless answer
    end

    def create(claim, strict)
      made = yield
      begin
        _complete(claim, made)
      rescue Error
        # The value is there, though the cache has no room for it.
        raise if strict
      end
      made
    ensure
      # Does nothing if the claim has ended.
      _fail(claim)
    end
  end
end
