package past

import (
	"fmt"
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
	hold *etcdkv.Hold
}

// judge returns how what was found stands to what was seen, and why it is not fit.
// prefix and file are where they were found and seen.
func judge(seen epoch.Point, f *found, prefix, file string) (verdict, string) {
	switch {
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
		return held, fmt.Sprintf("held since the restore of %s: `carillon recover --dry-run` shows what would be done, `carillon recover` does it and lets the cluster go on", f.hold.Since.UTC().Format(time.RFC3339))
	}
	return fit, ""
}
