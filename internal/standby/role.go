package standby

import (
	"fmt"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/internal/etcdkv"
)

// role is what a hold makes of a cluster.
func role(h *held) api.ClusterRole {
	if h == nil {
		return api.RoleAlone
	}
	return roleOf(&h.Hold)
}

func roleOf(h *etcdkv.Hold) api.ClusterRole {
	switch h.State {
	case etcdkv.HoldStandby:
		return api.RoleStandby
	case etcdkv.HoldHandedOver:
		return api.RoleHandedOver
	case etcdkv.HoldOvertaken:
		return api.RoleOvertaken
	case etcdkv.HoldRestoring, etcdkv.HoldRestored:
	}
	if h.Then != nil {
		return api.RolePromoting
	}
	return api.RoleRestored
}

// texts say what roles mean, and who has to decide.
func texts(r api.ClusterRole, from string) string {
	switch r {
	case api.RoleAlone:
		return "this cluster plans and fires"
	case api.RoleStandby:
		return "this cluster follows " + from + ", and plans nothing; whether it takes over is for a person to decide: carillon promote"
	case api.RolePromoting:
		return "this cluster is taking over from " + from + "; it goes on when all minions have told what they have run: carillon recover --dry-run shows who has not"
	case api.RoleHandedOver:
		return "this cluster has stopped for its standby to take over; make it the standby of that one with carillon demote, or, if that one never took over, let this one go on with carillon recover"
	case api.RoleOvertaken:
		return "another cluster (" + from + ") has taken over, and this one plans nothing; make it the standby of that one with carillon demote"
	case api.RoleRestored:
		return "this cluster is held since a restore: carillon recover lets it go on"
	}
	return ""
}

// Refuses says why definitions are not changed and nothing is started in a cluster that is
// held; empty: they are.
func Refuses(h *etcdkv.Hold) string {
	switch {
	case h == nil || h.State == etcdkv.HoldRestored:
		return ""
	case h.State == etcdkv.HoldStandby:
		return fmt.Sprintf("this cluster is a standby of %s: ask that one", h.Site)
	}
	return texts(roleOf(h), h.Site)
}

// Away says why minions are to go to another cluster than one that is held; empty: they are
// not.
func Away(h *etcdkv.Hold) string {
	if h == nil {
		return ""
	}
	switch h.State {
	case etcdkv.HoldStandby, etcdkv.HoldHandedOver, etcdkv.HoldOvertaken:
		return "this cluster is not the active one"
	case etcdkv.HoldRestoring, etcdkv.HoldRestored:
	}
	return ""
}
