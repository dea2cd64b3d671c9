/**
 * @peculiar/x509 needs this before itself. In a file of its own, since a bundler runs the CommonJS packages that a file imports only
 * after all its ES modules.
 */
import "reflect-metadata";
