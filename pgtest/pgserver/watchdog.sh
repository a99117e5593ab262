#!/bin/sh
# Stops a server and removes its files when nobody uses it any more.
#
# Users hold the FIFO "users" open for writing; the kernel closes it for a process that dies, and the end of file on
# descriptor 3 tells that the last one is gone. A shell does this because it is on every system: re-executing the test
# binary would need a hook in it.
#
# $1 mode: start or adopt   $2 the server's directory   $3 directory of the binaries   $4 seconds to linger
mode=$1 dir=$2 bin=$3 linger=$4

serve() {
	"$bin/postgres" -D "$dir/data" >"$dir/log" 2>&1 </dev/null
	: >"$dir/exited"
}

watch() {
	if [ "$mode" = start ]; then
		# The data directory is filled meanwhile. End of file: the starter died or gave up.
		if ! read -r _ <&3; then
			rm -rf "$dir"
			return
		fi
		serve 3<&- &
	fi
	# Each user writes a byte when it joins: no byte since the last end of file means nobody came while we lingered.
	until [ $(cat <&3 | wc -c) -eq 0 ]; do
		sleep "$linger"
	done
	# Who comes after this finds no FIFO and starts a server anew; who came just before it is waited for.
	mv "$dir/users" "$dir/closed"
	cat <&3 >/dev/null
	"$bin/pg_ctl" -D "$dir/data" -m immediate stop
	wait
	rm -rf "$dir"
}

trap '' HUP INT TERM
watch >/dev/null 2>&1 &
