# Sourced by tools/quickstart and tests/run: says what happens, installs what is missing with apt.
# Debian 12 is what the package names belong to; elsewhere the names are printed and the build is
# tried with what is there.

if [ -t 1 ]; then bold=$'\e[1m' plain=$'\e[0m'; else bold='' plain=''; fi
say() { printf '%s==> %s%s\n' "$bold" "$*" "$plain"; }
die() { printf '%s: %s\n' "$(basename "$0")" "$*" >&2; exit 1; }

# What the library and the command need.
build_packages=(g++ cmake ninja-build pkg-config python3 libasmjit-dev libcli11-dev libspdlog-dev
                libpcap-dev nlohmann-json3-dev zlib1g-dev)

as_root() {
  if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo "$@"; fi
}

missing_packages() {
  local package
  for package in "$@"; do
    case "$(dpkg-query -W -f='${db:Status-Abbrev}' "$package" 2>/dev/null)" in
      ii*) ;;
      *) echo "$package" ;;
    esac
  done
}

# need_packages NAME...: installs those that are missing; nothing to do costs no network.
need_packages() {
  if ! command -v apt-get >/dev/null; then
    say "No apt here; needed are the packages that Debian calls: $*"
    return 0
  fi
  local missing
  mapfile -t missing < <(missing_packages "$@")
  if [ "${#missing[@]}" -eq 0 ]; then
    say "All packages are installed"
    return 0
  fi
  if [ "$(id -u)" -ne 0 ] && ! command -v sudo >/dev/null; then
    die "run it as root or with sudo installed; missing packages: ${missing[*]}"
  fi
  say "Installing ${missing[*]}"
  as_root env DEBIAN_FRONTEND=noninteractive apt-get update -q >/dev/null ||
    say "apt-get update failed; going on with the lists that are there"
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends \
    "${missing[@]}" >/dev/null || die "apt-get could not install: ${missing[*]}"
}
