package access

import (
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/carillon-cron/carillon/agentpush/agentpb"
	"github.com/carillon-cron/carillon/internal/auth"
	"github.com/carillon-cron/carillon/internal/auth/authpb"
)

// Table says by the full name of a method, or of a frame, which kinds of
// identity may call it, or send it. A frame is a field of a message's oneof.
type Table map[protoreflect.FullName][]auth.Kind

// Rules returns the table of Carillon.
func Rules() Table {
	var (
		node    = []auth.Kind{auth.KindNode}
		minion  = []auth.Kind{auth.KindMinion}
		joining = []auth.Kind{auth.KindJoining}
	)
	return Table{
		"carillon.auth.v1.Enroll.Join":     joining,
		"carillon.auth.v1.Enroll.Renew":    minion,
		"carillon.auth.v1.Enroll.JoinNode": joining,

		"carillon.agent.v1.Push.Session":         minion,
		"carillon.agent.v1.FromMinion.hello":     minion,
		"carillon.agent.v1.FromMinion.taken":     minion,
		"carillon.agent.v1.FromMinion.reports":   minion,
		"carillon.agent.v1.FromMinion.output":    minion,
		"carillon.agent.v1.FromMinion.inventory": minion,
		"carillon.agent.v1.FromMinion.beat":      minion,
		"carillon.agent.v1.FromMinion.fetch":     minion,
		"carillon.agent.v1.FromMinion.shared":    minion,

		// A minion takes them from a server whose certificate is a node's.
		"carillon.agent.v1.ToMinion.welcome":       node,
		"carillon.agent.v1.ToMinion.offer":         node,
		"carillon.agent.v1.ToMinion.ack":           node,
		"carillon.agent.v1.ToMinion.output":        node,
		"carillon.agent.v1.ToMinion.drain":         node,
		"carillon.agent.v1.ToMinion.output_cancel": node,
		"carillon.agent.v1.ToMinion.output_more":   node,
		"carillon.agent.v1.ToMinion.update":        node,
		"carillon.agent.v1.ToMinion.text":          node,
		"carillon.agent.v1.ToMinion.shared":        node,

		"carillon.agent.v1.Peer.Link":       node,
		"carillon.agent.v1.PeerFrame.hello": node,
		"carillon.agent.v1.PeerFrame.batch": node,
		"carillon.agent.v1.Peer.LiveRuns":   node,
		"carillon.agent.v1.Peer.Status":     node,
		"carillon.agent.v1.Peer.Time":       node,
		"carillon.agent.v1.Peer.Output":     node,
		"carillon.agent.v1.Peer.Share":      node,
	}
}

// Files are the protocols that the port speaks.
func Files() []protoreflect.FileDescriptor {
	return []protoreflect.FileDescriptor{agentpb.File_agentpush_agentpb_agent_proto, authpb.File_internal_auth_authpb_enroll_proto}
}

// subjects lists what needs a row: the methods, and the frames.
func subjects(files []protoreflect.FileDescriptor) map[protoreflect.FullName]bool {
	names := map[protoreflect.FullName]bool{}
	var frames func(protoreflect.MessageDescriptors)
	frames = func(messages protoreflect.MessageDescriptors) {
		for i := range messages.Len() {
			for _, o := range choices(messages.Get(i)) {
				for j := range o.Fields().Len() {
					names[o.Fields().Get(j).FullName()] = true
				}
			}
			frames(messages.Get(i).Messages())
		}
	}
	for _, f := range files {
		for i := range f.Services().Len() {
			methods := f.Services().Get(i).Methods()
			for j := range methods.Len() {
				names[methods.Get(j).FullName()] = true
			}
		}
		frames(f.Messages())
	}
	return names
}

// choices are the oneofs of a message, without those that stand for an optional
// field.
func choices(m protoreflect.MessageDescriptor) []protoreflect.OneofDescriptor {
	var out []protoreflect.OneofDescriptor
	for i := range m.Oneofs().Len() {
		if o := m.Oneofs().Get(i); !o.IsSynthetic() {
			out = append(out, o)
		}
	}
	return out
}
