#!/usr/bin/env bash
# Gate: the third-party modules of the dashboard's page are the recorded ones.
#
#   bash vendored.sh TREE                  says TAP
#
# Each file in src/dashboard/web/vendor has the sha256 that SHA256SUMS there records, and none is missing from that list.
# The lock file pins each package that package.json names, by integrity, and names no host.
set -u
cd "$1/src/dashboard/web" || exit 1

number=0
# verdict NAME STATUS prints one test's result.
verdict()
{
	number=$((number + 1))
	if [ "$2" -eq 0 ]; then echo "ok $number - $1"; else echo "not ok $number - $1"; fi
}

echo "1..4"
changed=$(cd vendor && sha256sum --check --strict --quiet SHA256SUMS 2>&1)
verdict "the vendored files have the recorded sha256" $?
[ -z "$changed" ] || printf '%s\n' "$changed" | sed 's/^/# /'

unlisted=$(cd vendor && find . -type f ! -name SHA256SUMS ! -name README.md | sed 's|^\./||' | sort |
	comm -23 - <(cut -c 67- SHA256SUMS | sort))
[ -z "$unlisted" ]
verdict "every vendored file is recorded" $?
[ -z "$unlisted" ] || printf '%s\n' "$unlisted" | sed 's/^/# /'

unpinned=0
while read -r name version; do
	grep -A 3 "\"node_modules/$name\"" package-lock.json | tr -d '\n' |
		grep -q "\"version\": \"$version\",.*\"integrity\": \"sha512-" || unpinned=1
done < <(sed -n '/"dependencies"/,/}/ s/^[^"]*"\([^"]*\)": "\([0-9.]*\)".*/\1 \2/p' package.json)
verdict "the lock file pins the packages by version and integrity" "$unpinned"

grep -q '"resolved"\|https\?://' package.json package-lock.json
verdict "package.json and its lock file name no host" $((! $?))
