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
    # It keeps to a namespace of the file, +part+ ("rails" by default), which +clear+ empties.
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

      # Searches all keys: give values that are removed together a namespace of their own instead.
      def delete_matched(matcher, options = nil)
        options = merged_options(options)
        instrument(:delete_matched, matcher.inspect) do
          pattern = key_matcher(matcher, options)
          rescuing([]) { @cache.keys }.each { |key| delete_entry(key, **options) if key.match?(pattern) }
        end
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

      # Numbers that were written with +raw+ are digits, which all processes add to at once. Others are entries of Rails.
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

      # What fails is a miss, or is not stored.
      def rescuing(instead)
        yield
      rescue Kennel::Error => e
        logger&.error { "KennelStore: #{e.message}" }
        instead
      end

      def read_entry(key, raw: false, **_options)
        payload = rescuing(nil) { @cache.get(key) }
        return nil if payload.nil?
        return Entry.new(payload, compress: false) if raw || payload.b.match?(/\A\d+\z/)

        load_entry(payload)
      end

      def load_entry(payload)
        deserialize_entry(payload.b)
      end

      def write_entry(key, entry, raw: false, unless_exist: false, expires_in: nil, race_condition_ttl: nil, **options)
        payload = raw ? entry.value.to_s : dump_entry(entry, options)
        # Rails makes use of an entry for a while after it has expired.
        kept = expires_in && expires_in.to_f + (race_condition_ttl.to_f.positive? ? 300 : 0)
        return rescuing(false) { @cache.delete(key); true } if kept && !kept.positive?

        rescuing(false) do
          unless_exist ? @cache.add(key, payload, ttl: kept) : (@cache.set(key, payload, ttl: kept) && true)
        end
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
