#!/bin/bash
# Prints a line for each file, folder and link of the disk: type, mode, owner,
# target, path. Then the checksums of all files in the folders that ngrokd
# could have changed. Left out: what changes by itself, and the tests' own.
find / -xdev \( -path /proc -o -path /sys -o -path /dev -o -path /run -o -path /tmp -o -path /mnt -o -path /root \
  -o -path /opt/stand-in -o -path /var/tmp -o -path /var/log -o -path /var/cache -o -path /var/lib/systemd \
  -o -path /var/lib/NetworkManager -o -path /var/lib/dbus \) -prune -o -printf '%y %m %u:%g %l %p\n' | LC_ALL=C sort -k 5
find /etc /usr/local /home /opt /srv -xdev -type f ! -path '/opt/stand-in/*' -print0 |
  LC_ALL=C sort -z | xargs -0 sha256sum
