#!/usr/bin/env bash
# Gate: the modules of the dashboard's page keep its rules.
#
#   bash page.sh TREE                      says TAP
#
# A module opens with a comment, has at most 600 lines, and imports from its own folders alone. No value becomes HTML by itself: the
# words that would do that do not occur, and htm escapes the rest. Nothing in the page is inline or from elsewhere, which its
# Content-Security-Policy would refuse. Each import names a file that is there.
set -u
cd "$1/src/dashboard/web" || exit 1

number=0
# verdict NAME LINES prints one test's result: it passes if LINES is empty.
verdict()
{
	number=$((number + 1))
	if [ -z "$2" ]; then
		echo "ok $number - $1"
	else
		echo "not ok $number - $1"
		printf '%s\n' "$2" | sed 's/^/# /'
	fi
}

# missing_imports prints the imports of modules that name no file.
missing_imports()
{
	local file import

	for file in "${modules[@]}"; do
		grep -oE "^((import|export)\b.*|\}) from '[^']+';|import\('[^']+'\)" "$file" | grep -oE "'[^']+'(;|\))$" | grep -oE "'[^']+'" | tr -d "'" | while read -r import; do
			case $import in
			./* | ../*) [ -f "$(dirname "$file")/$import" ] || echo "$file: $import" ;;
			*) echo "$file: $import is not a path" ;;
			esac
		done
	done
}

echo "1..6"
mapfile -t modules < <(find . -name '*.js' -not -path './vendor/*' | sort)
mapfile -t styles < <(find . -name '*.css' -not -path './vendor/*' | sort)
verdict "${#modules[@]} modules open with a comment" \
	"$(for file in "${modules[@]}"; do head -n 1 "$file" | grep -q '^// [A-Z]' || echo "$file"; done)"
verdict "no module or style sheet has more than 600 lines" \
	"$(wc -l "${modules[@]}" "${styles[@]}" | awk '$1 > 600 && $2 != "total"')"
verdict "no value becomes HTML or code by itself" \
	"$(grep -nE 'innerHTML|outerHTML|insertAdjacentHTML|dangerouslySetInnerHTML|document\.write|\beval\(|new Function|srcdoc' "${modules[@]}")"
verdict "nothing is inline" "$(grep -nE '<script>|<style|[^:]style="|\bon[a-z]+="|javascript:' index.html "${modules[@]}")"
verdict "nothing is loaded from elsewhere" "$(grep -nE "https?://" index.html "${modules[@]}" "${styles[@]}" | grep -v 'http://www\.w3\.org/')"
verdict "each import names a file that is there" "$(missing_imports)"
