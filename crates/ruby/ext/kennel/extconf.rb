# Configures the build of the extension with the C library that pkg-config finds.
require "mkmf"

unless pkg_config("kennel")
  abort "kennel: pkg-config finds no libkennel; install the C library, and name its folder lib/pkgconfig in PKG_CONFIG_PATH"
end
append_cflags(["-Wall", "-Wextra", "-Wno-unused-parameter"])
append_cflags("-Werror") if ENV["KENNEL_WERROR"]
libdir = `pkg-config --variable=libdir kennel`.strip
$LDFLAGS << " -Wl,-rpath,#{libdir}"
create_makefile("kennel/kennel")
