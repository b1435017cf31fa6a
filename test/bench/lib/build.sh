# shellcheck shell=bash
# Builds what is measured. To be sourced behind test/lib/common.sh.

# build DIR makes a private server in DIR/server, points PG_CONFIG to it, and installs the extension of DIR/tree there,
# with the flags of a release.
build()
{
	local tree=$1/tree

	mirror_server "$1/server"
	if ! { make_bgjob "$tree" -j "$(nproc)" all && make_bgjob "$tree" install &&
		make -s -C "$tree/test/modules/bareworker" PG_CONFIG="$PG_CONFIG" all install &&
		make -s -C "$tree/test/bench/client" PG_CONFIG="$PG_CONFIG"; } >"$1/build.log" 2>&1; then
		cat "$1/build.log" >&2
		die "bgjob does not build"
	fi
}
