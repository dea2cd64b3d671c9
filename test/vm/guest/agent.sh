#!/bin/bash
# Runs the tests' commands on the virtual machine. Each comes as a line on a
# serial port: a number, a limit in seconds, and the command in base64. The
# answer is a line too: @, the number, the exit code, and the output in base64.
port=/dev/$(sed -n 's/.*agent=\([A-Za-z0-9]*\).*/\1/p' /proc/cmdline)
exec 3<>"$port"
stty raw -echo <&3
printf '\n@ready\n' >&3
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 SYSTEMD_PAGER=
cd /root || exit 1
while read -r number limit command <&3; do
  base64 -d <<<"$command" >/run/agent.command
  # A file, and no pipe: a program that the command leaves behind would hold it.
  timeout -k 5 "$limit" bash /run/agent.command </dev/null >/run/agent.output 2>&1 3>&-
  printf '\n@%s %s %s\n' "$number" $? "$(base64 -w 0 /run/agent.output)" >&3
done
