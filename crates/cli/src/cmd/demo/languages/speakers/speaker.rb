# What Ruby says in `kennel demo --languages`.

require "kennel"

def create(cache, name)
  puts "ready"
  $stdin.read
  made = cache.fetch("made once") do
    puts "created"
    sleep 0.2
    "made by #{name}"
  end
  puts made
end

def write(cache, name)
  puts "ready"
  (0..).each do |n|
    key = "key #{n % 100}"
    value = cache[key]
    abort "#{key} is #{value}" unless value.nil? || value.start_with?("#{key} by ")
    cache.set(key, "#{key} by #{name}, #{n}")
  end
end

$stdout.sync = true
action, file, *names = ARGV
if action == "version"
  puts "Ruby #{RUBY_VERSION}"
else
  cache = Kennel.open(file)
  case action
  when "set" then cache.set("hello:#{names[0]}", "#{names[0]} says hello")
  when "get" then names.each { |name| puts cache["hello:#{name}"] || "-" }
  when "create" then create(cache, names[0])
  when "write" then write(cache, names[0])
  end
end
