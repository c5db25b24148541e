# frozen_string_literal: true

# A cache in one memory-mapped file that the processes of a host share.
module Kennel
  VERSION = "0.1.0"

  # A failure of the cache. +code+ is a symbol, such as :busy. +facts+ says what was expected and what was found, and
  # +advice+ what to do about it, or "". +number+ is the number of the error in the C header kennel.h.
  class Error < StandardError
    CODES = {
      1 => :io, 2 => :not_found, 3 => :exists, 4 => :bad_file, 5 => :mismatch, 6 => :locks_lost, 7 => :lease_refused,
      8 => :unknown_strategy, 9 => :open_elsewhere, 10 => :not_trusted, 11 => :network_filesystem, 12 => :no_space,
      13 => :seats_full, 14 => :bad_option, 15 => :key_too_long, 16 => :too_large, 17 => :not_a_number, 18 => :overflow,
      19 => :busy, 20 => :timed_out, 21 => :own_claim, 22 => :namespaces_full, 23 => :codec, 24 => :read_only,
      25 => :no_memory, 26 => :buffer_too_small, 27 => :not_resized, 28 => :too_many_tags, 29 => :resting,
      30 => :failed_elsewhere, 90 => :closed, 91 => :no_handle, 99 => :panic
    }.freeze

    # What to do about an error, by the library's name of the advice.
    ADVICE = {
      "create" => "create one with \"kennel create\", or open it without existing: true",
      "open-or-destroy" => "open it, or remove it first with Kennel.destroy",
      "other-path" => "this is no cache file, so it is left alone: choose another path, or remove it yourself",
      "other-path-or-remove" => "this is no cache file, so it is left alone: choose another path, or remove it yourself " \
                                "if you know that it once was one",
      "replace-lost" => "a power failure can leave a file like this, and nothing is lost with it: remove it with Kennel.destroy",
      "destroy-and-create" => "it is a cache file of another format, or a damaged one: remove it with Kennel.destroy, " \
                              "and open it again",
      "on-mismatch" => "use the file as it is, without same_sizes: true, or remove it with Kennel.destroy",
      "restore-locks" => "the file was moved, linked or mounted without its lock directory, or that directory was deleted: " \
                         "restore the directory, or remove the cache with Kennel.destroy",
      "not-lease" => "use another file system (/dev/shm, a volume), or create the file with locks: \"file\"",
      "share-handle" => "share that cache within the process, or create the file with other locks for several processes",
      "trust" => "if you trust everyone who can write to it, open it with trust: true",
      "local-files" => "use a local file system, or allow_network: true if only one host uses it and you know that its " \
                       "locks work",
      "more-seats" => "create the file with more seats (seats:)",
      "larger-items" => "fewer stripes or a larger capacity allow larger items",
      "wait-longer" => "wait longer (wait:), or create the value anyway (unprotected: true)",
      "not-within" => "within its creation or lock, do not create or lock the key again",
      "more-namespaces" => "create the file with room for more (namespaces:)"
    }.freeze

    attr_reader :number, :facts, :advice

    def initialize(number, facts, advice)
      @number = number
      @facts = facts
      @advice = ADVICE.fetch(advice, "")
      super(@advice.empty? ? facts : "#{facts}; #{@advice}")
    end

    def code
      CODES.fetch(-number, :other)
    end
  end

  # The time to live of a value that does not expire.
  NEVER = Float::INFINITY

  FLAGS = { existing: 1, read_only: 2, verify_reads: 4, trust: 8, allow_network: 16, same_sizes: 32 }.freeze
  private_constant :FLAGS

  # Opens a cache file, and creates it if it does not exist. Without a path, this is the default cache file of this
  # user. An existing file is used as it is, whatever its sizes, unless +same_sizes+ is true. For sizes, counts and
  # +mode+, 0 stands for the default. +lock_wait+ is in seconds: how long a write waits for the lock of its stripe.
  def self.open(path = nil, capacity: 0, mean_item: 0, lock_wait: 0.25, locks: nil, stripes: 0, seats: 0, namespaces: 0,
                claims: 0, mode: 0, **flags)
    stray = flags.keys - FLAGS.keys
    raise ArgumentError, "unknown option: #{stray.first}" unless stray.empty?

    bits = flags.sum { |name, yes| yes ? FLAGS.fetch(name) : 0 }
    numbers = [capacity, mean_item, [Cache.ms(lock_wait), 1].max, stripes, seats, namespaces, claims, mode, bits]
    Cache.allocate.tap { |cache| cache.send(:_open, path&.to_s, locks&.to_s, numbers) }
  end

  # Removes a cache file and its lock files. Returns whether there was one.
  def self.destroy(path = nil)
    _destroy(path&.to_s)
  end
end

require "kennel/kennel"
require "kennel/cache"
Kennel.private_class_method :_destroy
