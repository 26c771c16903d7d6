// Package manifest reads and writes job files: YAML or JSON, one or several
// documents. Decoding is strict and tells all problems at once, each with its
// line, its path, and what would be right. It is pure: no I/O.
package manifest
