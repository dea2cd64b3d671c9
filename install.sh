#!/bin/sh
# Installs ngrokd: curl -fsSL https://github.com/ngrokd/ngrokd/releases/latest/download/install.sh | sh
# All code is in functions, and the last line starts them. So an incomplete
# download does nothing.

usage() {
  cat <<'EOF'
Installs ngrokd, or removes it. Nothing on this machine changes before the download's checksum is found right.

Usage: sh install.sh [--uninstall [--purge]]
       curl -fsSL https://github.com/ngrokd/ngrokd/releases/latest/download/install.sh | sh -s -- [options]

Options:
  --uninstall  Remove the program; configuration, registration and addresses stay (on a terminal it offers to unregister)
  --purge      With --uninstall: remove those too
  --help       Show this help

Environment:
  NGROKD_VERSION      The version to install (default: the newest)
  NGROKD_INSTALL_DIR  The program's folder (default: /usr/local/bin, without root ~/.local/bin)
  NGROKD_CONFIG_DIR   The configuration's folder, named "ngrokd" (default: /etc/ngrokd, without root ~/.config/ngrokd)
  NGROKD_RELEASE_URL  Where SHA256SUMS and the archives are, http or https (default: the project's releases)
  NGROKD_HOSTS_PATH   The hosts file that --uninstall looks into (default: /etc/hosts)
EOF
}

# The public key of minisign that signs the releases. `make release` writes it.
signing_key=

main() {
  set -eu
  umask 022
  action=install purge=no
  for option in "$@"; do
    case $option in
      --uninstall) action=uninstall ;;
      --purge) purge=yes ;;
      --help | -h) action=help ;;
      *) fail "Unknown option \"$option\"" "\`sh install.sh --help\` lists the options" ;;
    esac
  done
  choose_folders
  case $action-$purge in
    help-*) usage ;;
    install-yes) fail "--purge is only for --uninstall" "add --uninstall to remove ngrokd and all its data" ;;
    install-no) install ;;
    uninstall-*) uninstall ;;
  esac
}

choose_folders() {
  if [ "$(id -u)" = 0 ]; then
    program_dir=${NGROKD_INSTALL_DIR:-/usr/local/bin}
    config_dir=${NGROKD_CONFIG_DIR:-/etc/ngrokd}
  else
    program_dir=${NGROKD_INSTALL_DIR:-${HOME:?}/.local/bin}
    config_dir=${NGROKD_CONFIG_DIR:-${HOME:?}/.config/ngrokd}
  fi
  program_dir=${program_dir%/}
  program=$program_dir/ngrokd
  config=$config_dir/config.yml
}

# --- Install --------------------------------------------------------------------------------------------------------------------------

install() {
  target=$(this_system)
  need tar
  need gzip
  check_writable "$program_dir"
  [ -e "$config" ] || check_writable "$config_dir"

  temporary=$(mktemp -d) || fail "Cannot make a temporary folder" "set TMPDIR to a folder that can be written"
  staged='' new_folder='' new_config=''
  trap clean_up EXIT
  trap 'exit 130' INT
  trap 'exit 143' HUP TERM

  fetch_archive
  # The temporary folder may be mounted noexec, so the program is unpacked and
  # tried in its final folder.
  [ -d "$program_dir" ] || new_folder=$program_dir
  mkdir -p "$program_dir"
  # An unpredictable name, since other users may write to the folder, as with
  # Homebrew's.
  staged=$(mktemp "$program_dir/.ngrokd.XXXXXX") || fail "Cannot write to \"$program_dir\""
  # A member that is no regular file gives no bytes, and a shell runs an empty
  # program with success.
  if ! tar -xzOf "$temporary/archive" ngrokd 2>/dev/null >"$staged" || [ ! -s "$staged" ]; then
    fail "Cannot unpack $archive into \"$program_dir\"" "is the disk full? Otherwise the release is broken: please report it"
  fi
  chmod 755 "$staged"
  version=$(try_program 2>/dev/null) ||
    fail "The program in $archive does not run on this machine" "$(needs_of_program)"
  case $version in
    "ngrokd "*) ;;
    *) fail "The program in $archive says that it is \"$version\", and not ngrokd" "the release is broken: please report it" ;;
  esac
  write_config
  keep_go_program "$program" || :
  mv -f "$staged" "$program"
  staged='' new_folder='' new_config=''
  if keep_go_program "$program_dir/ngrokctl"; then
    # The program answers as that client if it is called by its name.
    rm -f "$program_dir/ngrokctl" && ln -s ngrokd "$program_dir/ngrokctl"
  fi
  explain
}

# $1: a program. If it is of the Go program of the same name, a copy of it stays
# beside it. Go writes this mark into each program.
keep_go_program() {
  [ -f "$1" ] && [ ! -L "$1" ] && grep -q 'Go buildinf' "$1" 2>/dev/null || return 1
  cp -p "$1" "$1.go-program" || fail "Cannot keep \"$1\" as \"$1.go-program\""
  say "$1 was the Go program of that name, and is kept as $1.go-program"
}

clean_up() {
  rm -rf "$temporary"
  if [ -n "$staged" ]; then rm -f "$staged"; fi
  if [ -n "$new_folder" ]; then rmdir "$new_folder" 2>/dev/null || :; fi
  if [ -n "$new_config" ]; then rm -f "$new_config" && { rmdir "$config_dir" 2>/dev/null || :; }; fi
}

# The name of this system in the archives' names, such as linux-x64-musl.
this_system() {
  system=$(uname -s)
  machine=$(uname -m)
  case $system in
    Linux) os=linux ;;
    Darwin) os=darwin ;;
    *) fail "There is no ngrokd for \"$system\"" "it is for Linux and macOS" ;;
  esac
  case $machine in
    x86_64 | amd64) cpu=x64 ;;
    aarch64 | arm64) cpu=arm64 ;;
    *) fail "There is no ngrokd for \"$machine\" processors" "there is one for x86_64 and one for arm64" ;;
  esac
  # A shell under Rosetta says x86_64 on an arm64 Mac.
  if [ "$os-$cpu" = darwin-x64 ] && [ "$(sysctl -n sysctl.proc_translated 2>/dev/null)" = 1 ]; then cpu=arm64; fi
  if [ "$os" = linux ] && is_musl; then echo "$os-$cpu-musl"; else echo "$os-$cpu"; fi
}

is_musl() {
  # musl's ldd prints its name and fails. The loader alone is no proof, since
  # glibc systems can have one beside their own.
  if command -v ldd >/dev/null 2>&1; then
    case $(ldd --version 2>&1) in *musl*) return 0 ;; *) return 1 ;; esac
  fi
  ls /lib/ld-musl-* >/dev/null 2>&1
}

try_program() {
  "$staged" --version && return
  # macOS may kill a program that was signed on another machine. It runs if it
  # is signed here.
  case $target in
    darwin-*) codesign --force --sign - "$staged" && "$staged" --version ;;
    *) return 1 ;;
  esac
}

needs_of_program() {
  case $target in
    linux-*-musl) echo "it needs libstdc++; on Alpine: apk add libstdc++" ;;
    linux-*) echo "it needs glibc 2.17 or newer" ;;
    *) echo "please report the processor and the system's version" ;;
  esac
}

fetch_archive() {
  wanted=${NGROKD_VERSION:-}
  wanted=${wanted#v}
  case $wanted in *[!0-9A-Za-z.+-]*) fail "NGROKD_VERSION is \"$wanted\", which is not a version" "it looks like 0.1.0" ;; esac
  url=https://github.com/ngrokd/ngrokd/releases
  if [ -n "$wanted" ]; then url=$url/download/v$wanted; else url=$url/latest/download; fi
  url=${NGROKD_RELEASE_URL:-$url}
  url=${url%/}

  say "Fetching ngrokd ${wanted:-(newest)} for $target from $url"
  download "$url/SHA256SUMS" "$temporary/SHA256SUMS"
  check_signature
  archive='' carriage_return=$(printf '\r')
  # The last line may have no end.
  while read -r sum name || [ -n "$name" ]; do
    name=${name#\*}
    name=${name%"$carriage_return"}
    # Unquoted on purpose: without a wanted version, every version matches.
    # shellcheck disable=SC2254
    case $name in
      */*) ;;
      ngrokd-${wanted:-*}-$target.tar.gz) archive=$name expected=$(printf %s "$sum" | tr A-F a-f) && break ;;
    esac
  done <"$temporary/SHA256SUMS"
  [ -n "$archive" ] ||
    fail "The SHA256SUMS of $url names no archive of ngrokd${wanted:+ $wanted} for $target" "see $url for the archives"

  download "$url/$archive" "$temporary/archive"
  actual=$(sha256 "$temporary/archive")
  [ "$actual" = "$expected" ] ||
    fail "The checksum of $archive is wrong: expected $expected, got $actual" \
      "the download was damaged or tampered with: try again, and report it if it stays"
}

# The signature tells a changed release page from the real one, as long as this
# script is not from there.
check_signature() {
  if [ -z "$signing_key" ]; then
    say "This install.sh names no signing key, so the checksums alone are checked"
  elif ! command -v minisign >/dev/null 2>&1; then
    say "minisign is not installed, so the checksums are checked, and not their signature"
  else
    download "$url/SHA256SUMS.minisig" "$temporary/SHA256SUMS.minisig"
    signed=$(minisign -Q -V -P "$signing_key" -m "$temporary/SHA256SUMS" 2>&1) ||
      fail "The signature of SHA256SUMS is wrong: $(printf %s "$signed" | head -n 1)" \
        "the release page was changed, or its key was: look at the project's page before you go on"
    say "The signature is right: $signed"
  fi
}

# $1: URL, $2: file. One line on failure, with the downloader's own reason.
download() {
  if command -v curl >/dev/null 2>&1; then
    reason=$(curl -fsSL --connect-timeout 20 --retry 2 -o "$2" "$1" 2>&1) && return
  elif command -v wget >/dev/null 2>&1; then
    reason=$(wget -nv -T 20 -t 3 -O "$2" "$1" 2>&1) && return
  else
    fail "Neither curl nor wget is installed" "install one of them"
  fi
  fail "Cannot download \"$1\": $(printf %s "$reason" | tail -n 1)" "check the network, NGROKD_RELEASE_URL and NGROKD_VERSION"
}

sha256() {
  if command -v sha256sum >/dev/null 2>&1; then
    sum=$(sha256sum "$1")
  elif command -v shasum >/dev/null 2>&1; then
    sum=$(shasum -a 256 "$1")
  else
    fail "Neither sha256sum nor shasum is installed, so the download cannot be checked" "install coreutils or perl"
  fi
  echo "${sum%% *}"
}

# $1: a folder, which may be missing.
check_writable() {
  folder=$1
  while [ ! -e "$folder" ]; do folder=$(dirname "$folder"); done
  [ -d "$folder" ] || fail "Cannot write to \"$1\": \"$folder\" is not a folder"
  [ -w "$folder" ] || fail "Cannot write to \"$1\": permission denied" \
    "run it as root (curl … | sudo sh), or name another folder in NGROKD_INSTALL_DIR and NGROKD_CONFIG_DIR"
}

write_config() {
  if [ -e "$config" ]; then return; fi
  (umask 077 && mkdir -p "$config_dir")
  new_config=$config
  reason=$("$staged" config init --config "$config" 2>&1) ||
    fail "Cannot write \"$config\": $(printf %s "$reason" | head -n 1)"
}

explain() {
  say "Installed $version as $program; its configuration is $config"
  look_for_daemon
  case $running in
    yes) say "The running daemon is of the old version until it is restarted" ;;
    unknown) say "Cannot tell whether a daemon is running ($reason); a running one is of the old version until it is restarted" ;;
  esac
  ngrokd=ngrokd
  found=$(command -v ngrokd) || found=
  # -ef sees through links and slashes.
  # shellcheck disable=SC3013
  if [ -z "$found" ]; then
    ngrokd=$program && say "\"$program_dir\" is not in your PATH"
  elif [ ! "$found" -ef "$program" ]; then
    ngrokd=$program && say "\"$found\" is another program, and comes first in your PATH"
  fi
  # Without root, setup asks for whom; only these configurations are found
  # without an option.
  usual=/etc/ngrokd/config.yml
  [ "$(id -u)" = 0 ] || usual=${XDG_CONFIG_HOME:-$HOME/.config}/ngrokd/config.yml
  named=
  [ "$config" = "$usual" ] || named=" --config $config"
  cat <<EOF

Next, with your API key (dashboard.ngrok.com/api-keys) at hand. It asks what is missing, and shows
its plan before it changes anything:

  $ngrokd setup$named
EOF
  # As a service if there is systemd.
  if [ "$(id -u)" = 0 ] && [ "$(uname -s)" = Linux ] && [ ! -d /run/systemd/system ]; then
    echo "  $ngrokd serve$named"
  fi
}

# --- Uninstall ------------------------------------------------------------------------------------------------------------------------

uninstall() {
  # The daemon removes its names from the hosts file when it stops, so it must
  # stop first.
  look_for_daemon
  case $running in
    yes) fail "ngrokd is running" "stop it first: it then takes its names out of the hosts file" ;;
    unknown)
      fail "Cannot tell whether ngrokd is running: $reason" \
        "stop it first, as root; where \`sudo $program status\` says that none answers, remove the socket that it names"
      ;;
  esac
  if is_service; then
    fail "ngrokd is installed as a service, and the system would keep trying to start it" "remove that first: $program service uninstall"
  fi
  state_dir=$(state_folder)
  if [ "$purge" = yes ]; then
    case $config_dir in
      */ngrokd | */ngrokd/) ;;
      *) fail "NGROKD_CONFIG_DIR is \"$config_dir\": --purge removes a folder named \"ngrokd\" only" "remove it by hand" ;;
    esac
    [ ! -e "$config_dir" ] || check_removable "$config_dir"
    if is_ours_alone; then
      check_removable "$state_dir" \
        "the daemon's key is there: run it as root, with NGROKD_INSTALL_DIR=$program_dir NGROKD_CONFIG_DIR=$config_dir"
    fi
  fi
  [ ! -e "$program" ] || check_removable "$program"
  operator=
  if [ -r "$state_dir/operator_id" ]; then operator=$(tr -cd 'A-Za-z0-9_-' <"$state_dir/operator_id"); fi
  [ -z "$operator" ] || offer_unregister
  sections=$(files_left "# BEGIN ngrokd managed section")
  # Such as that of NetworkManager's dnsmasq.
  whole_files=$(files_left "# Written by ngrokd")

  if [ -e "$program" ]; then
    rm -f "$program"
    say "Removed $program"
  else
    say "There is no $program"
  fi
  if [ -L "$program_dir/ngrokctl" ] && [ ! -e "$program_dir/ngrokctl" ]; then rm -f "$program_dir/ngrokctl"; fi
  for kept in "$program.go-program" "$program_dir/ngrokctl.go-program"; do
    [ ! -e "$kept" ] || say "Kept $kept, the Go program of that name"
  done
  if [ "$purge" = yes ]; then
    ! is_ours_alone || { rm -rf "$state_dir" && say "Removed $state_dir"; }
    rm -rf "$config_dir"
    say "Removed $config_dir"
    if [ -n "$operator" ]; then
      say "The operator $operator is still in your ngrok account: delete it in ngrok's dashboard (Kubernetes operators)"
    fi
  elif [ -e "$config_dir" ]; then
    say "Kept $config_dir: configuration, registration and addresses (--purge removes them)"
  fi
  if [ "$state_dir" != "${config_dir%/}" ] && [ -e "$state_dir" ]; then
    say "Kept $state_dir, with the daemon's key, its registration and its addresses"
  fi
  [ -z "$sections" ] || printf '%s\n' "$sections" | while IFS= read -r file; do
    say "warning: the last daemon was killed and left its section in $file: remove the lines from \"# BEGIN ngrokd\" to \"# END ngrokd\""
  done
  [ -z "$whole_files" ] || printf '%s\n' "$whole_files" | while IFS= read -r file; do
    say "warning: the last daemon was killed and left $file: remove it"
  done
}

# The hosts file, and the files that the journal names, such as resolv.conf.
# $1: only those that have a line with this beginning.
files_left() {
  {
    printf '%s\n' "${NGROKD_HOSTS_PATH:-/etc/hosts}"
    sed -n 's/^ *"path": "\(.*\)",*$/\1/p' "$state_dir/journal.json" 2>/dev/null || :
  } | sort -u | while IFS= read -r file; do
    ! grep -q "^$1" "$file" 2>/dev/null || printf '%s\n' "$file"
  done
}

# The operator in the account is deleted only after a yes. Piped into sh, the
# script itself is the standard input, so there is no terminal to ask on.
offer_unregister() {
  if [ ! -x "$program" ] || [ ! -t 1 ] || ! (: </dev/tty) 2>/dev/null; then return; fi
  printf 'Delete the operator %s of this machine in your ngrok account too? [y/N] ' "$operator"
  read -r answer </dev/tty || answer=no
  case $answer in
    [Yy] | [Yy][Ee][Ss]) ;;
    *) return ;;
  esac
  "$program" unregister --yes --config "$config" ||
    fail "The operator could not be deleted, and nothing was removed" "see the reason above, or answer no to leave it in the account"
  operator=
}

# $1: a file or a folder. $2: what to do otherwise.
check_removable() {
  [ -w "$(dirname "$1")" ] || fail "Cannot remove \"$1\": permission denied" "${2:-run it as root}"
}

# Sets $running to yes, no or unknown, and $reason. It is a no only if no daemon
# answers, or if the program cannot be started. The daemon may be root's, hang,
# or be of another version.
look_for_daemon() {
  running=no code=0
  [ -x "$program" ] || return 0
  reason=$(ask_program status 2>&1 >/dev/null) || code=$?
  case $code in
    0) running=yes ;;
    4 | 126 | 127) ;;
    *) running=unknown ;;
  esac
  reason=$(printf '%s\n' "$reason" | head -n 1)
  reason=${reason#error: }
  reason=${reason:-exit code $code}
}

# Runs the installed program for the configuration of this installation.
ask_program() {
  if [ -e "$config" ]; then set -- "$@" --config "$config"; fi
  "$program" "$@"
}

# The folder of the daemon's key, registration and addresses. It is the folder
# of its certificate, which may differ from the configuration's.
state_folder() {
  certificate=
  if [ -x "$program" ]; then
    certificate=$(ask_program config show --json 2>/dev/null | sed -n '/"server.client_cert": {/,/}/s/^ *"value": "\(.*\)",*$/\1/p')
  fi
  case $certificate in
    /*) dirname "$certificate" ;;
    *) printf '%s\n' "${config_dir%/}" ;;
  esac
}

# Whether the daemon's files are in a folder of their own apart from the
# configuration: one of its name, and not that of another installation.
is_ours_alone() {
  [ "$state_dir" != "${config_dir%/}" ] && [ -e "$state_dir" ] && [ ! -e "$state_dir/config.yml" ] && [ "${state_dir##*/}" = ngrokd ]
}

# Whether this program has installed the service on this machine for itself.
is_service() {
  [ -x "$program" ] || return 1
  service=$("$program" service status --json 2>/dev/null | sed -n 's/^ *"path": "\(.*\)",*$/\1/p')
  grep -q "ngrokd service install" "$service" 2>/dev/null && grep -qF "$program" "$service"
}

# --- Helpers --------------------------------------------------------------------------------------------------------------------------

need() {
  command -v "$1" >/dev/null 2>&1 || fail "$1 is not installed" "install it"
}

say() {
  printf '%s\n' "$1"
}

fail() {
  printf 'error: %s\n' "$1" >&2
  [ $# -lt 2 ] || printf 'hint:  %s\n' "$2" >&2
  exit 1
}

# In braces: if it is cut before its end, this line is no command.
{ main "$@"; }
