# What the shell says in `kennel demo --languages`. KENNEL is the program.

kennel() { "$KENNEL" "$@"; }

action=$1 file=$2
[ $# -lt 3 ] || shift 2
case $action in
version)
  echo "POSIX shell"
  ;;
set)
  kennel set "$file" "hello:$1" "$1 says hello"
  ;;
get)
  for name; do
    kennel get "$file" "hello:$name" && echo || echo -
  done
  ;;
create)
  echo ready
  cat >/dev/null
  # Of the programs that find no value, one at a time has the lock of the key; those after the first find the value.
  kennel get "$file" "made once" || kennel lock "$file" "made once" -- sh -c '
    "$KENNEL" get "$1" "made once" || {
      echo created
      sleep 0.2
      "$KENNEL" set "$1" "made once" "made by $2"
      echo "made by $2"
    }' sh "$file" "$1"
  echo
  ;;
write)
  echo ready
  n=0
  while :; do
    key="key $((n % 100))"
    value=$(kennel get "$file" "$key") || value="$key by nobody"
    case $value in
    "$key by "*) ;;
    *)
      echo "$key is $value" >&2
      exit 1
      ;;
    esac
    kennel set "$file" "$key" "$key by $1, $n"
    n=$((n + 1))
  done
  ;;
esac
