# frozen_string_literal: true

require "active_support"
require "active_support/cache"
require "kennel"

module ActiveSupport
  module Cache
    # A store that all processes of a host share.
    #
    #   config.cache_store = :kennel_store, "/dev/shm/app.cache", { capacity: 256 << 20 }
    #
    # The store uses one namespace of the file, +part+ ("rails" by default), and +clear+ empties only this namespace.
    class KennelStore < Store
      OPEN = %i[capacity mean_item lock_wait locks stripes seats namespaces claims mode existing read_only verify_reads trust
                allow_network same_sizes].freeze
      private_constant :OPEN

      prepend Strategy::LocalCache

      def self.supports_cache_versioning?
        true
      end

      # The open Kennel::Cache.
      attr_reader :cache

      def initialize(path = nil, options = nil)
        path, options = nil, path if path.is_a?(Hash)
        options = (options || {}).dup
        given = options.extract!(*OPEN)
        part = options.delete(:part) || "rails"
        super(options)
        @cache = Kennel.open(path, **given).namespace(part)
      end

      def clear(_options = nil)
        rescuing(nil) { @cache.invalidate }
        true
      end

      # The file removes expired entries itself.
      def cleanup(_options = nil); end

      # Removes the entries whose keys match. This searches all keys; for values that are removed together, tags or a
      # +part+ of their own are faster.
      def delete_matched(matcher, options = nil)
        options = merged_options(options)
        instrument(:delete_matched, matcher.inspect) do
          pattern = key_matcher(matcher, options)
          rescuing([]) { @cache.keys }.each { |key| delete_entry(key, **options) if key.match?(pattern) }
        end
      end

      # Removes all entries that were written with one of these tags, for all processes:
      #
      #   Rails.cache.fetch("page:42", tags: ["user:7"]) { render }
      #   Rails.cache.invalidate_tags("user:7")
      #
      # The option +namespace+ separates tags as it separates keys.
      def invalidate_tags(*tags, namespace: nil)
        options = merged_options(namespace ? { namespace: namespace } : nil)
        tags.flatten!
        instrument(:invalidate_tags, tags) do
          local_cache&.clear
          rescuing(nil) { @cache.invalidate_tags(names_of(tags, options)) }
        end
        nil
      end

      def increment(name, amount = 1, options = nil)
        count(:increment, name, amount, options)
      end

      def decrement(name, amount = 1, options = nil)
        count(:decrement, name, -amount, options)
      end

      private

      def count(operation, name, amount, options)
        options = merged_options(options)
        key = normalize_key(name, options)
        instrument(operation, name, amount: amount) do
          rescuing(nil) { add_to(key, amount) }
        end
      end

      # A number that was written with +raw+ is stored as digits, and the library adds to it in one step. Any other
      # number is an entry of Rails, which is changed under the lock of its key.
      def add_to(key, amount)
        @cache.incr(key, amount)
      rescue Kennel::Error => e
        raise unless e.code == :not_a_number

        @cache.lock(key) do
          entry = read_entry(key)
          return nil if entry.nil? || entry.expired?

          number = entry.value.to_i + amount
          left = entry.expires_at && entry.expires_at - Time.now.to_f
          write_entry(key, Entry.new(number, expires_in: left, version: entry.version))
          number
        end
      end

      # Runs a block. If the cache fails, logs the error and returns +instead+.
      def rescuing(instead)
        yield
      rescue Kennel::Error => e
        logger&.error { "KennelStore: #{e.message}" }
        instead
      end

      def read_entry(key, raw: false, **_options)
        entry_of(rescuing(nil) { @cache.get(key) }, raw)
      end

      # Looks up all keys with one call.
      def read_multi_entries(names, **options)
        keys = names.to_h { |name| [name, normalize_key(name, options)] }
        payloads = rescuing({}) { @cache.get_multi(keys.values) }
        keys.each_with_object({}) do |(name, key), found|
          entry = entry_of(payloads[key], options[:raw])
          next if entry.nil?

          if entry.expired?
            delete_entry(key, **options)
          elsif !entry.mismatched?(normalize_version(name, options))
            found[name] = entry.value
          end
        end
      end

      def entry_of(payload, raw)
        return nil if payload.nil?
        return Entry.new(payload, compress: false) if raw || payload.b.match?(/\A\d+\z/)

        load_entry(payload)
      end

      def load_entry(payload)
        deserialize_entry(payload.b)
      end

      def write_entry(key, entry, raw: false, unless_exist: false, tags: nil, **options)
        payload = payload_of(entry, raw, options)
        kept = kept(options)
        return rescuing(false) { @cache.delete(key); true } if kept && !kept.positive?

        how = { ttl: kept, tags: names_of(tags, options) }
        rescuing(false) do
          unless_exist ? @cache.add(key, payload, **how) : (@cache.set(key, payload, **how) && true)
        end
      end

      # Stores all entries with one call.
      def write_multi_entries(entries, **options)
        kept = kept(options)
        return super if options[:unless_exist] || (kept && !kept.positive?)

        payloads = entries.transform_values { |entry| payload_of(entry, options[:raw], options) }
        forget_here(entries.keys)
        rescuing(nil) { @cache.set_multi(payloads, ttl: kept, tags: names_of(options[:tags], options)) }
        entries
      end

      # Removes all entries with one call.
      def delete_multi_entries(keys, **_options)
        forget_here(keys)
        rescuing(0) { @cache.delete_multi(keys) }
      end

      # Removes keys from the local cache of the request, which calls for many keys bypass, so that it does not keep old
      # values.
      def forget_here(keys)
        here = local_cache
        keys.each { |key| here.delete_entry(key) } if here
      end

      # How many seconds the file keeps an entry. With +race_condition_ttl+, Rails still uses an entry after it has
      # expired.
      def kept(options)
        expires_in = options[:expires_in]
        expires_in && expires_in.to_f + (options[:race_condition_ttl].to_f.positive? ? 300 : 0)
      end

      # The names that tags have in the file.
      def names_of(tags, options)
        tags && Array(tags).map { |tag| namespace_key(tag.to_s, options) }
      end

      def payload_of(entry, raw, options)
        raw ? entry.value.to_s : dump_entry(entry, options)
      end

      def dump_entry(entry, options)
        method(:serialize_entry).arity == 1 ? serialize_entry(entry) : serialize_entry(entry, **options)
      end

      def delete_entry(key, **_options)
        rescuing(false) { @cache.delete(key) }
      end
    end
  end
end
