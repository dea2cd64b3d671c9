/**
 * Loads reflect-metadata before @peculiar/x509, which needs it. In the bundle,
 * CommonJS packages of a file run after all its ES modules, so this import is a
 * module of its own. From source, Bun runs the imports of a nested file in no
 * fixed order, so ca.ts imports the package directly as well.
 */
import "reflect-metadata";
