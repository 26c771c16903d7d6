package job

import "time"

// KindHostGroup is the kind of the manifest of a saved group of hosts.
const KindHostGroup = "HostGroup"

// HostGroupSpec is what a user writes about a group of hosts. Its JSON form is
// the manifest's.
type HostGroupSpec struct {
	// Match is the target expression that the group stands for. It may name
	// other groups.
	Match string `json:"match"`
}

// HostGroup is a saved group of hosts: targets name it as @NAME. It belongs to
// the whole cluster, as hosts do, so its namespace is always DefaultNamespace.
type HostGroup struct {
	Metadata
	Spec HostGroupSpec `json:"spec"`

	// CreatedAt and UpdatedAt are for people; nothing is decided by them.
	CreatedAt time.Time `json:"createdAt"`
	UpdatedAt time.Time `json:"updatedAt"`
}
