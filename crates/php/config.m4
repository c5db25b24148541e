PHP_ARG_WITH([kennel],
  [for Kennel],
  [AS_HELP_STRING([--with-kennel@<:@=DIR@:>@],
    [The extension "kennel". DIR is the prefix of libkennel; without it, pkg-config finds the library])])

if test "$PHP_KENNEL" != "no"; then
  if test "$PHP_KENNEL" != "yes"; then
    PKG_CONFIG_PATH="$PHP_KENNEL/lib/pkgconfig:$PKG_CONFIG_PATH"
    export PKG_CONFIG_PATH
  fi
  AC_PATH_PROG([PKG_CONFIG], [pkg-config], [no])
  if test "$PKG_CONFIG" = "no" || ! $PKG_CONFIG --exists kennel; then
    AC_MSG_ERROR([libkennel was not found. Install it with: cargo xtask capi --prefix DIR; then configure with: --with-kennel=DIR])
  fi
  KENNEL_LIBDIR=`$PKG_CONFIG --variable=libdir kennel`
  PHP_EVAL_INCLINE([`$PKG_CONFIG --cflags kennel`])
  PHP_ADD_LIBRARY_WITH_PATH([kennel], [$KENNEL_LIBDIR], [KENNEL_SHARED_LIBADD])
  PHP_SUBST([KENNEL_SHARED_LIBADD])
  PHP_NEW_EXTENSION([kennel], [kennel.c errors.c values.c many.c numbers.c create.c functions.c info.c cache.c objects.c], [$ext_shared],, [-Wall -Wextra -Wno-unused-parameter])
  PHP_ADD_EXTENSION_DEP([kennel], [json])
fi
