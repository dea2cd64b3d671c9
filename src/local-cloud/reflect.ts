/**
 * For the bundler, which runs the CommonJS packages that a file imports only
 * after all its ES modules: @peculiar/x509 is one of those there, and needs
 * this before itself. Run from source it is CommonJS too, and Bun runs what a
 * nested file imports in no fixed order, so that ca.ts imports the package
 * directly besides.
 */
import "reflect-metadata";
