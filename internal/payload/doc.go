// Package payload holds payloads of items against a schema: the part of JSON Schema
// (2020-12) that is small, has no references, and means the same everywhere.
//
//	type, enum, const, properties, required, additionalProperties, items,
//	minimum, maximum, exclusiveMinimum, exclusiveMaximum, minLength, maxLength,
//	pattern (RE2), minItems, maxItems; title, description and $schema are kept, and
//	mean nothing
//
// A schema with anything else is refused, with its place: it would seem to demand what
// nobody looks at. Not in it: format, references, and what combines schemas. With those
// one short schema can cost a node exponential time for one payload, and whoever may edit
// a queue writes schemas; that is why this is no library that has all of it.
//
// It is pure: no I/O. A Schema may be used by many goroutines at once.
package payload
