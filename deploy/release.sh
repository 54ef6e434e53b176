#!/usr/bin/env bash
# Makes a release of the commit that is checked out:
#
#   bash deploy/release.sh v1.2.3 dist
#
# For each platform an archive with the binary, manual pages, completions, the guides and what they refer to, and a bill of materials (CycloneDX,
# JSON) of that binary; and SHA256SUMS over all of them. The same commit and version give the same bytes, with the same Go.
set -euo pipefail
cd "$(dirname "$0")/.."

(($# == 2)) || { echo "usage: bash deploy/release.sh VERSION FOLDER" >&2; exit 2; }
readonly version=$1 out=$(realpath -m "$2")
readonly platforms=(${RELEASE_PLATFORMS:-linux/amd64 linux/arm64 darwin/amd64 darwin/arm64})
[[ $version =~ ^v[0-9]+\.[0-9]+\.[0-9]+(-[0-9A-Za-z.-]+)?$ ]] || { echo "error: version '$version' is not of the form v1.2.3" >&2; exit 2; }
[[ -z $(git status --porcelain) ]] || { echo "error: there are changes that are not committed: a release is of a commit" >&2; exit 1; }
if [[ $version != *-* ]] && grep -rniE 'no (release|version) is tagged' README.md CHANGELOG.md docs >&2; then
  echo "error: these pages say that there is no release: have them say what holds from this one on" >&2
  exit 1
fi
if [[ -e $out ]] && [[ -n $(ls -A "$out") ]]; then
  echo "error: $out is not empty: name another folder" >&2
  exit 1
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct) # of all that bears a date
export SOURCE_DATE_EPOCH CGO_ENABLED=0

build() { # platform, file
  GOOS=${1%/*} GOARCH=${1#*/} go build -trimpath -ldflags "-s -w -buildid= -X main.release=$version" -o "$2" ./cmd/raftbus
}

mkdir -p "$out" "$work/tools" "$work/common/completion"
GOBIN=$work/tools go -C .ci/release install tool
go test ./cmd/raftbus -run '^TestManPages$' -count=1 -man "$work/common/man" >/dev/null
build "$(go env GOHOSTOS)/$(go env GOHOSTARCH)" "$work/host"
for shell in bash zsh fish; do
  "$work/host" completion "$shell" >"$work/common/completion/raftbus.$shell"
done
cp LICENSE README.md CHANGELOG.md SECURITY.md "$work/common"
cp -r docs "$work/common"
mkdir "$work/common/deploy"
cp -r deploy/{systemd,kubernetes,monitoring} "$work/common/deploy" # where the guides link to
cp --parents ARCHITECTURE.md kv/{ERRORS.md,jetstream/doc.go,store/DESIGN.md} cmd/raftbus/{admin/ERRORS.md,backup/FORMAT.md,observe/stats.go} \
  test/{compare/main.go,library/example_test.go,sim/DESIGN.md,sim/BUGS.md,mutants/CATALOGUE.md} "$work/common"

for platform in "${platforms[@]}"; do
  name=raftbus-$version-${platform/\//-}
  cp -r "$work/common" "$work/$name"
  build "$platform" "$work/$name/raftbus"
  chmod -R u=rwX,go=rX "$work/$name" # whatever this shell's umask is
  tar -C "$work" --sort=name --owner=0 --group=0 --numeric-owner --mtime="@$SOURCE_DATE_EPOCH" -cf - "$name" | gzip -n -9 >"$out/$name.tar.gz"
  "$work/tools/cyclonedx-gomod" bin -json -noserial -licenses=false -version "$version" -output "$work/sbom" "$work/$name/raftbus" 2>"$work/said" ||
    { cat "$work/said" >&2; exit 1; }
  sed '/"timestamp": /d' "$work/sbom" >"$out/$name.cdx.json" # it says when it was made, and nothing else does
done
cd "$out"
sha256sum -- * >"$work/sums"
mv "$work/sums" SHA256SUMS
ls -l
