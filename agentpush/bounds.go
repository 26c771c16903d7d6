package agentpush

import (
	"fmt"
	"math"

	"google.golang.org/grpc"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/reflect/protoreflect"

	pb "google.golang.org/protobuf/proto"

	"github.com/carillon-cron/carillon/agentpush/agentpb"
	"github.com/carillon-cron/carillon/internal/fieldrange"
	"github.com/carillon-cron/carillon/job"
)

// frameRanges says of each field of each frame of a minion what is legal. It is
// the only place that does: what a node takes from a minion has gone through it
// (I11). Ranges that depend on the order or on the time are in clock.go.
func frameRanges() fieldrange.Table {
	const (
		// largest counts bytes: an exbibyte.
		largest = 1 << 60
		// perEntry is what an entry of a map takes beside its name and value.
		perEntry = 8
	)
	instant := fieldrange.Range{Min: agentpb.EarliestTime().UnixNano(), Max: agentpb.LatestTime().UnixNano()}
	// A wrong one binds none but the minion's own tasks: by too early an end of a
	// lease, or by too late a one.
	uptime := fieldrange.Range{Min: 0, Max: math.MaxInt64 / 2}
	name := fieldrange.Range{Bytes: job.MaxNameLen}
	count := fieldrange.Range{Min: 0, Max: agentpb.MaxRunning}
	anything := fieldrange.Range{Any: true}
	part := fieldrange.Range{Bytes: job.MaxOutputPart}
	inventory := fieldrange.Range{Bytes: agentpb.MaxInventory + perEntry*(agentpb.MaxFacts+agentpb.MaxLabels)}
	fact := &fieldrange.Range{Bytes: job.MaxNameLen, Check: job.CheckName}
	label := &fieldrange.Range{Bytes: job.MaxLabelKey, Check: job.CheckLabelKey}
	return fieldrange.Table{
		"FromMinion.hello":     anything,
		"FromMinion.taken":     anything,
		"FromMinion.reports":   anything,
		"FromMinion.output":    anything,
		"FromMinion.inventory": inventory,
		"FromMinion.beat":      anything,
		"FromMinion.fetch":     anything,
		"FromMinion.shared":    anything,

		"Hello.minion":     name,
		"Hello.instance":   {Bytes: agentpb.MaxInstance},
		"Hello.boot_id":    {Bytes: agentpb.MaxInstance},
		"Hello.version":    {Bytes: agentpb.MaxVersion},
		"Hello.protocol":   {Min: 0, Max: 1 << 20},
		"Hello.inventory":  inventory,
		"Hello.wall_clock": instant,
		"Hello.running":    count,
		"Hello.session":    {Min: 0, Max: agentpb.MaxSession},
		"Hello.clock":      uptime,

		"Inventory.labels": {Items: agentpb.MaxLabels, Key: label, Value: &fieldrange.Range{Bytes: job.MaxLabelValue}},
		"Inventory.facts":  {Items: agentpb.MaxFacts, Key: fact, Value: &fieldrange.Range{Bytes: agentpb.MaxFact}},

		"Taken.seq": anything, // it counts if it is that of the offer

		"Beat.running":    count,
		"Beat.wall_clock": instant,
		// In milliseconds; a clock may stand at the epoch.
		"Beat.clock_skew": {Min: -agentpb.LatestTime().UnixMilli(), Max: agentpb.LatestTime().UnixMilli()},
		"Beat.clock":      uptime,
		"Beat.trouble":    {Items: agentpb.MaxTroubles, Bytes: agentpb.MaxTrouble},

		"Fetch.sha256": {Items: agentpb.MaxFetch, Bytes: 64, Check: checkSum},

		"Shared.id":             anything, // of the minion's own requests
		"Shared.task":           anything,
		"Shared.shard":          anything, // it counts if it is the task's
		"Shared.token_epoch":    anything, // compared with the owner's
		"Shared.token_revision": anything,
		"Shared.request":        {Bytes: agentpb.MaxSharedRequest},

		"OutputChunk.id":      anything, // it counts if somebody reads there
		"OutputChunk.stream":  {Min: 0, Max: 2},
		"OutputChunk.data":    {Bytes: agentpb.MaxChunk},
		"OutputChunk.eof":     anything,
		"OutputChunk.error":   {Bytes: agentpb.MaxReason},
		"OutputChunk.dropped": {Min: 0, Max: largest},

		"Reports.reports": {Items: agentpb.MaxReports, Bytes: agentpb.MaxReportBytes},

		"Report.task":  anything,
		"Report.shard": anything, // it counts if it is the task's
		"Report.known": anything,
		// None is the answer to a question about a task that the minion has never accepted.
		"Report.state":      {OneOf: append(spelled(job.TaskStates()), "")},
		"Report.reason":     {Bytes: agentpb.MaxReason},
		"Report.started_at": instant,
		"Report.ended_at":   instant,
		"Report.exited":     anything,
		"Report.exit_code":  {Min: -255, Max: 1<<16 - 1},
		"Report.signal":     {Bytes: agentpb.MaxSignal},
		"Report.user_cpu":   {Min: 0, Max: math.MaxInt64},
		"Report.system_cpu": {Min: 0, Max: math.MaxInt64},
		"Report.max_rss":    {Min: 0, Max: largest},
		"Report.stdout":     anything,
		"Report.stderr":     anything,
		"Report.spooled":    anything,
		"Report.returned":   anything, // of a minion's own tasks, as all that it says
		// Whom it answers is compared, and counts for the minion's own tasks only.
		"Report.token_epoch":    anything,
		"Report.token_revision": anything,
		"Report.term":           anything,
		"Report.instance":       {Bytes: agentpb.MaxInstance}, // it is overwritten: I9
		"Report.steps":          {Items: job.MaxSteps, Any: true},
		"Report.verdict":        {OneOf: append(spelled(job.Verdicts()), "")},
		"Report.after":          {Min: 0, Max: int64(job.MaxSnooze)},
		"Report.progress":       anything,
		"Report.checkpoint":     {Bytes: job.MaxCheckpoint},

		"Progress.percent": {Min: 0, Max: 100},
		"Progress.text":    {Bytes: job.MaxProgressText},

		"TaskID.job":     {Bytes: len(job.UID{}), Check: checkUID},
		"TaskID.at":      instant,
		"TaskID.trigger": {Min: int64(job.TriggerSchedule), Max: int64(job.TriggerRedo)},
		"TaskID.attempt": {Min: 0, Max: math.MaxUint16},
		"TaskID.minion":  name, // it is overwritten: I9
		"TaskID.share":   anything,

		"Output.head":      part,
		"Output.tail":      part,
		"Output.bytes":     {Min: 0, Max: largest},
		"Output.truncated": anything,

		"StepResult.name":      name,
		"StepResult.state":     {OneOf: spelled(job.StepStates())},
		"StepResult.exit_code": {Min: -255, Max: 1<<16 - 1},
		"StepResult.took":      {Min: 0, Max: int64(agentpb.MaxTook)},
	}
}

// spelled returns states and the like as they are sent.
func spelled[T ~string](states []T) []string {
	out := make([]string, len(states))
	for i, s := range states {
		out[i] = string(s)
	}
	return out
}

func checkUID(s string) error {
	if len(s) != len(job.UID{}) {
		return fmt.Errorf("a job's UID has %d bytes", len(job.UID{}))
	}
	return nil
}

func checkSum(s string) error {
	if len(s) != 64 {
		return fmt.Errorf("a SHA-256 has 64 characters")
	}
	for _, c := range []byte(s) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return fmt.Errorf("a SHA-256 is written with the characters 0-9 and a-f")
		}
	}
	return nil
}

// newFrames returns what checks the frames of minions.
func newFrames() (*fieldrange.Checker, error) {
	c, err := fieldrange.New(descriptorOf(&agentpb.FromMinion{}), agentpb.MaxFrame, frameRanges())
	if err != nil {
		return nil, fmt.Errorf("agentpush: frames of minions: %w", err)
	}
	return c, nil
}

func descriptorOf(m pb.Message) protoreflect.MessageDescriptor { return m.ProtoReflect().Descriptor() }

// arriving is a frame of a minion before it is decoded.
type arriving struct{ data []byte }

// Frame tells who looks at it before us which message it is, and its wire form.
func (a *arriving) Frame() (protoreflect.FullName, []byte) {
	return "carillon.agent.v1.FromMinion", a.data
}

// decode returns the frame, unless a field of it is out of its range.
func (f *frames) decode(a *arriving) (*agentpb.FromMinion, error) {
	if err := f.checker.Check(a.data); err != nil {
		return nil, err
	}
	m := &agentpb.FromMinion{}
	if err := pb.Unmarshal(a.data, m); err != nil {
		return nil, err
	}
	return m, nil
}

// codec is that of protocol buffers, but that frames of minions come as they are.
type codec struct{ encoding.CodecV2 }

// frameCodec returns the codec of a server with a Hub.
func frameCodec() grpc.ServerOption {
	return grpc.ForceServerCodecV2(codec{encoding.GetCodecV2(proto.Name)})
}

// Unmarshal implements encoding.CodecV2.
func (c codec) Unmarshal(data mem.BufferSlice, v any) error {
	if a, ok := v.(*arriving); ok {
		a.data = data.Materialize()
		return nil
	}
	return c.CodecV2.Unmarshal(data, v)
}
