# Needs make, Node and npm. Bun, Deno, TypeScript and Biome come with `npm ci`,
# which runs before the first target that needs them.

PREFIX ?= /usr/local
# The targets of `make dist`. `make dist TARGETS=linux-x64` builds one.
TARGETS ?= linux-x64 linux-x64-musl linux-arm64 linux-arm64-musl darwin-x64 darwin-arm64
# The minisign key (a file) that signs a release. Without it, there is no signature.
MINISIGN_KEY ?=

version := $(shell node -p 'require("./package.json").version')
commit := $(shell git describe --always --dirty --abbrev=12 --exclude='*' 2>/dev/null)
commit_time := $(shell git log -1 --format=%ct 2>/dev/null || echo 946684800)
archives := $(TARGETS:%=dist/ngrokd-$(version)-%.tar.gz)
# The processors that get a package. The list of the made packages is named
# after them.
cpus := $(patsubst linux-%,%,$(filter linux-x64 linux-arm64,$(TARGETS)))
space := $(subst ,, )
packages := dist/.packages-$(version)-$(subst $(space),-,$(cpus))
bill := dist/ngrokd-$(version).cdx.json
# npm writes this file at the end of an install. If it is older than the lock,
# the lock has changed since.
modules := node_modules/.package-lock.json
# With folders, whose times change when a file is removed.
sources := $(shell find src) package.json $(modules) Makefile
# Named after the commit, which is compiled in. Another commit is another file,
# newer than the last build.
stamp := dist/.commit-$(commit)
bun := node_modules/.bin/bun
# Where the shells look for completions, below share/.
completions := bash-completion/completions zsh/site-functions fish/vendor_completions.d

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help build man demo test vm-test soak chaos check fmt proto bench dist packages release install clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' Makefile

build: dist/ngrokd ## Build dist/ngrokd for this machine

man: dist/man/ngrokd.1 ## Write the manual pages to dist/man

demo: dist/ngrokd ## Show it all working: no account, no root (DEMO_ONCE=1: check and exit)
	@dist/ngrokd demo

test: dist/ngrokd ## Run all checks, tests and stories
	@$(bun) test/run.ts

vm-test: dist/ngrokd ## Stories on a virtual machine: boots, clocks, full disks, real resolvers (root)
	@$(bun) test --timeout=120000 ./test/vm/

soak: dist/ngrokd ## Mixed traffic with random faults for SOAK_MINUTES (0.5), then WIDE_LIVES (100) kills, then HANDOVER_ROUNDS (20) handovers; SOAK_SEED repeats a run
	@$(bun) test/soak/main.ts
	@WIDE_LIVES=$${WIDE_LIVES:-100} $(bun) test ./test/stories/wide-crash.test.ts
	@HANDOVER_ROUNDS=$${HANDOVER_ROUNDS:-20} HANDOVER_RATE=500 HANDOVER_LONG=200 $(bun) test ./test/stories/handover.test.ts

chaos: dist/ngrokd ## kill -9, faults, churn and other programs' edits under traffic for CHAOS_MINUTES (1); CHAOS_SEED repeats a run
	@$(bun) test/chaos/main.ts

check: $(modules) ## Check format, lint, types and import arrows
	@$(bun) test/run.ts checks

fmt: $(modules) ## Format, and fix what can be fixed safely
	@node_modules/.bin/biome check --write .

proto: $(modules) ## Generate src/ingress/conn_header_pb.ts again
	@node_modules/.bin/buf generate --template src/ingress/buf.gen.yaml

bench: dist/ngrokd ## Measure against haproxy, nginx, stunnel and Go loops, into docs/benchmarks.md
	@$(bun) test/bench/main.ts

dist: $(archives) ## Build the archives of all systems, SHA256SUMS and install.sh
	$(call sums,$(archives))

packages: $(packages) ## Build .deb, .rpm and the container image (needs debhelper, rpm, libc6-arm64-cross)
	@cat $<

release: $(archives) $(packages) $(bill) ## Build all files of a release, signed if MINISIGN_KEY names a key
	$(call sums,$(archives) $(bill) $$(cat $(packages)))
	@$(bun) .github/packaging/formula.ts $(version) dist/SHA256SUMS > dist/ngrokd.rb

install: dist/ngrokd dist/man/ngrokd.1 ## Install to PREFIX (/usr/local), below DESTDIR where it is set
	install -d '$(DESTDIR)$(PREFIX)/bin'
	install -m 0755 dist/ngrokd '$(DESTDIR)$(PREFIX)/bin/ngrokd'
	install -d '$(DESTDIR)$(PREFIX)/share/man/man1'
	install -m 0644 dist/man/*.1 '$(DESTDIR)$(PREFIX)/share/man/man1'
	install -d $(completions:%='$(DESTDIR)$(PREFIX)/share/%')
	dist/ngrokd completion bash >'$(DESTDIR)$(PREFIX)/share/bash-completion/completions/ngrokd'
	dist/ngrokd completion zsh >'$(DESTDIR)$(PREFIX)/share/zsh/site-functions/_ngrokd'
	dist/ngrokd completion fish >'$(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d/ngrokd.fish'

clean: ## Remove what was built
	rm -rf dist

$(modules): package-lock.json
	npm ci --no-audit --no-fund
	@touch $@

# --- The binary -------------------------------------------------------------------------------------------------------------------
# Without autoload, the binary ignores a bunfig.toml or .env in the folder where
# it is started. It must never be stripped, since that leaves a bare bun. With a
# source map inside, stack traces name files and lines of src/. Bun also writes
# maps beside the binary, so it is built in a folder of its own and then moved.
# The move also spares a running binary. Equal sources give equal bytes in any
# folder; Bun would read NODE_ENV from the environment, too. Split, a command
# reads only its own code, which halves its time.
compile = NODE_ENV=production $(bun) build src/main.ts --compile --splitting --minify --bytecode --format=esm --sourcemap=linked --production \
	--conditions=built --no-compile-autoload-bunfig --no-compile-autoload-dotenv --define 'NGROKD_COMMIT="$(commit)"'

# The page of the dashboard: built.ts in src/web takes these two files in.
dashboard := dist/dashboard/script.txt dist/dashboard/style.txt
bundle = @mkdir -p $(@D) && NODE_ENV=production $(bun) build $< --minify --target=browser --production --outfile $@ >/dev/null

dist/dashboard/script.txt: src/dashboard/main.tsx $(sources)
	$(bundle)

dist/dashboard/style.txt: src/dashboard/all.css $(sources)
	$(bundle)

dist/ngrokd: $(sources) $(stamp) $(dashboard)
	@rm -rf dist/host && mkdir -p dist/host
	$(compile) --outfile dist/host/ngrokd
	@mv dist/host/ngrokd $@ && rm -rf dist/host

dist/man/ngrokd.1: $(sources) .github/packaging/man.ts
	@$(bun) .github/packaging/man.ts dist/man $(commit_time)

$(stamp):
	@mkdir -p dist && rm -f dist/.commit-* && touch $@

# --- The release ------------------------------------------------------------------------------------------------------------------
# For a foreign system Bun fetches its runtime in the same version from the
# package registry and keeps it. Times, owners and order are fixed, so that equal
# binaries give equal archives. GNU tar and bsdtar can both do this. Bun 1.4.5
# leaves the signature of its bare runtime in darwin-x64 binaries. macOS kills
# binaries with a wrong signature, but not unsigned ones. There is no archive for
# Windows, where nothing of ngrokd works yet.
unsign := const fs = require("node:fs"), [file] = process.argv.slice(1), { buffer } = new Uint8Array(fs.readFileSync(file)); \
	fs.writeFileSync(file, Buffer.from(require("macho-unsign").unsign(buffer) ?? buffer))
built_at := $(shell TZ=UTC git log -1 --format=%cd --date=format-local:%Y%m%d%H%M.%S 2>/dev/null || echo 200001010000)
tar_owner := $(if $(findstring GNU,$(shell tar --version)),--owner=0 --group=0,--uid 0 --gid 0) --numeric-owner
sha256 := $(shell command -v sha256sum || echo shasum -a 256)

$(archives): dist/ngrokd-$(version)-%.tar.gz: $(sources) $(stamp) $(dashboard) LICENSE README.md
	@rm -rf dist/$* && mkdir -p dist/$*
	$(compile) --target=bun-$* --outfile dist/$*/ngrokd
	@$(if $(filter darwin-x64,$*),node -e '$(unsign)' dist/$*/ngrokd)
	@cp LICENSE README.md dist/$*/
	@cd dist/$* && chmod 0755 ngrokd && chmod 0644 LICENSE README.md && TZ=UTC touch -t $(built_at) ngrokd LICENSE README.md
	@cd dist/$* && tar --format=ustar $(tar_owner) -cf ngrokd.tar ngrokd LICENSE README.md && gzip -n -6 ngrokd.tar
	@mv dist/$*/ngrokd.tar.gz $@ && rm -rf dist/$*

# The checksums of these files, with a signature and its public key in install.sh
# if there is a key.
define sums
	@cp install.sh dist/ && rm -f dist/SHA256SUMS.minisig
	@cd dist && $(sha256) $$(for file in $(1); do basename "$$file"; done) > SHA256SUMS
	@cat dist/SHA256SUMS
	$(if $(MINISIGN_KEY),@.github/packaging/sign.sh '$(MINISIGN_KEY)' 'ngrokd $(version)' dist)
endef

$(packages): $(cpus:%=dist/ngrokd-$(version)-linux-%.tar.gz) $(wildcard .github/packaging/* .github/packaging/debian/*)
	@rm -f dist/.packages-*
	@$(bun) .github/packaging/packages.ts $(version) $(commit_time) '$(CURDIR)/dist' $(cpus) > $@.new && mv $@.new $@

$(bill): package-lock.json .github/packaging/sbom.ts
	@mkdir -p dist && $(bun) .github/packaging/sbom.ts $(version) $(commit_time) > $@
