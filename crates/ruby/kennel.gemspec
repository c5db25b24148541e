# frozen_string_literal: true

Gem::Specification.new do |spec|
  spec.name = "kennel"
  spec.version = "0.1.0"
  spec.summary = "A cache in one memory-mapped file that the processes of a host share"
  spec.authors = ["Kennel contributors"]
  spec.licenses = ["MIT", "Apache-2.0"]
  spec.required_ruby_version = ">= 3.0"
  spec.files = Dir["lib/**/*.rb", "ext/kennel/{extconf.rb,kennel.c}"]
  spec.extensions = ["ext/kennel/extconf.rb"]
end
