package past

import (
	"fmt"
	"slices"
	"time"

	"github.com/carillon-cron/carillon/internal/epoch"
	"github.com/carillon-cron/carillon/internal/etcdkv"
)

// verdict is how etcd stands to what was seen of it.
type verdict uint8

const (
	fit verdict = iota
	held
	restoring
	back
	other
)

// found is what etcd tells.
type found struct {
	// Point has no cluster where there is none.
	epoch.Point
	// replaces are clusters that were there before, and whose nodes belong to this one.
	replaces []string
	hold     *etcdkv.Hold
}

// judge returns how what was found stands to what was seen, and why it is not fit.
// prefix and file are where they were found and seen.
func judge(seen epoch.Point, f *found, prefix, file string) (verdict, string) {
	if slices.Contains(f.replaces, seen.Cluster) {
		seen = epoch.Point{} // a standby was promoted: what was seen is of another history
	}
	switch {
	case f.hold != nil && f.hold.State == etcdkv.HoldRestoring && f.hold.Then != nil:
		return restoring, fmt.Sprintf("a promotion is under way since %s, or was broken off: if none runs, begin it again with `carillon promote`", f.hold.Since.UTC().Format(time.RFC3339))
	case f.hold != nil && f.hold.State == etcdkv.HoldRestoring:
		return restoring, fmt.Sprintf("a restore is under way since %s, or was broken off: if none runs, begin it again with `carillon restore --replace`", f.hold.Since.UTC().Format(time.RFC3339))
	case f.Cluster == "":
		return other, fmt.Sprintf("etcd holds no cluster under %s, and this node belongs to %s (%s, seen %s): restore it with `carillon restore`, see --etcd-endpoints and --etcd-prefix, or remove %s to begin anew",
			prefix, seen.Cluster, seen, seen.At.UTC().Format(time.RFC3339), file)
	case seen.Cluster != "" && f.Cluster != seen.Cluster:
		return other, fmt.Sprintf("etcd holds another cluster under %s: %s; this node belongs to %s (%s, seen %s): see --etcd-endpoints and --etcd-prefix, restore it with `carillon restore`, or remove %s to move the node over",
			prefix, f.Cluster, seen.Cluster, seen, seen.At.UTC().Format(time.RFC3339), file)
	case f.Older(seen):
		return back, fmt.Sprintf("etcd went back from %s (seen %s) to %s: restore with `carillon restore`, or go on from what is there with `carillon recover --adopt`",
			seen, seen.At.UTC().Format(time.RFC3339), f.Point)
	case f.hold != nil:
		return held, whyHeld(f.hold)
	}
	return fit, ""
}

// whyHeld says why a cluster is held, and who has to decide what comes next.
func whyHeld(h *etcdkv.Hold) string {
	since := h.Since.UTC().Format(time.RFC3339)
	switch h.State {
	case etcdkv.HoldStandby:
		return fmt.Sprintf("this cluster is a standby of %s since %s: it takes over only when somebody decides so, with `carillon promote`", h.Site, since)
	case etcdkv.HoldHandedOver:
		return fmt.Sprintf("this cluster has handed over to its standby at %s: when that one is active, `carillon demote` makes this one its standby; if it never was, `carillon recover` lets this one go on", since)
	case etcdkv.HoldOvertaken:
		return fmt.Sprintf("overtaken by epoch %d: another cluster (%s) was promoted, and goes on; `carillon demote` makes this one its standby", h.Epoch, h.Site)
	case etcdkv.HoldRestored, etcdkv.HoldRestoring:
	}
	if h.Then != nil {
		return fmt.Sprintf("promoted at %s: minions are being asked what they have run, and the cluster goes on when all have answered; `carillon recover --dry-run` shows who is silent, `carillon recover --accept-unknown` does not wait for them", since)
	}
	return fmt.Sprintf("held since the restore of %s: `carillon recover --dry-run` shows what would be done, `carillon recover` does it and lets the cluster go on", since)
}
