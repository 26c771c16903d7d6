// Package agentpb is the wire protocol between minions and nodes, and between
// nodes, generated from agent.proto by `make generate`. convert.go carries
// job's types over the wire and back.
package agentpb
