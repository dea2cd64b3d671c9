#!/bin/sh
# The packages run this after an upgrade. The daemon hands over to the new
# program, so no client is refused and no connection is cut. A handover keeps the
# rights of the old unit, so systemd starts the daemon again if that has changed.
# The scripts before the upgrade have copied it.
before=/run/ngrokd-unit.before
trap 'rm -f "$before"' EXIT

[ -d /run/systemd/system ] && systemctl is-active --quiet ngrokd.service || exit 0
# Another program, from elsewhere, has not changed. The replaced file has a mark
# behind its name.
pid=$(systemctl show --property=MainPID --value ngrokd.service)
case $(readlink "/proc/$pid/exe") in /usr/bin/ngrokd*) ;; *) exit 0 ;; esac

if cmp -s "$before" /usr/lib/systemd/system/ngrokd.service && /usr/bin/ngrokd upgrade; then
  exit 0
fi
# A daemon that runs is worth more than a new one that cannot start.
if /usr/bin/ngrokd config check >/dev/null; then
  systemctl restart ngrokd.service || :
else
  echo "ngrokd: the old program goes on; mend its configuration, and run \"systemctl restart ngrokd\"" >&2
fi
