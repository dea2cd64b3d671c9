# nix run "github:ngrokd/ngrokd?dir=.github/packaging/nix" -- demo
# It has the program of a release, since Bun fetches its runtime while it
# compiles, and Nix builds without a network. Never run: the hashes are those of
# SHA256SUMS of the release, and have to be filled in with its version.
{
  description = "ngrok's Kubernetes-bound endpoints on this machine";
  inputs.nixpkgs.url = "github:NixOS/nixpkgs/nixos-unstable";

  outputs = { self, nixpkgs }:
    let
      version = "0.1.0";
      archives = {
        x86_64-linux = { target = "linux-x64"; sha256 = nixpkgs.lib.fakeSha256; };
        aarch64-linux = { target = "linux-arm64"; sha256 = nixpkgs.lib.fakeSha256; };
        x86_64-darwin = { target = "darwin-x64"; sha256 = nixpkgs.lib.fakeSha256; };
        aarch64-darwin = { target = "darwin-arm64"; sha256 = nixpkgs.lib.fakeSha256; };
      };
      package = system: { target, sha256 }:
        let pkgs = nixpkgs.legacyPackages.${system};
        in pkgs.stdenv.mkDerivation {
          pname = "ngrokd";
          inherit version;
          src = pkgs.fetchurl {
            url = "https://github.com/ngrokd/ngrokd/releases/download/v${version}/ngrokd-${version}-${target}.tar.gz";
            inherit sha256;
          };
          sourceRoot = ".";
          # A stripped program is a bare Bun.
          dontStrip = true;
          # The loader alone: patchelf --set-rpath would move the sources at the
          # end of the program.
          nativeBuildInputs = pkgs.lib.optional pkgs.stdenv.isLinux pkgs.patchelf;
          installPhase = ''
            install -Dm755 ngrokd $out/bin/ngrokd
          '' + pkgs.lib.optionalString pkgs.stdenv.isLinux ''
            patchelf --set-interpreter "$(cat $NIX_CC/nix-support/dynamic-linker)" $out/bin/ngrokd
          '';
          meta = {
            description = "ngrok's Kubernetes-bound endpoints, without Kubernetes";
            homepage = "https://github.com/ngrokd/ngrokd";
            license = pkgs.lib.licenses.mit;
            mainProgram = "ngrokd";
          };
        };
    in {
      packages = builtins.mapAttrs (system: archive: { default = package system archive; }) archives;
    };
}
