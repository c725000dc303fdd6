package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	pubsub "github.com/libp2p/go-libp2p-pubsub"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
)

type gossip struct {
	ctx    context.Context
	self   peer.ID
	pubsub *pubsub.PubSub
	topics map[string]*pubsub.Topic
	open   *openStreams
}

func newGossip(ctx context.Context, h host.Host, unsigned bool) (*gossip, error) {
	policy := pubsub.StrictSign
	if unsigned {
		policy = pubsub.StrictNoSign
	}
	open := &openStreams{peers: map[peer.ID]bool{}}
	router, err := pubsub.NewGossipSub(ctx, h,
		pubsub.WithMessageSignaturePolicy(policy),
		// Else a message goes to mesh members only, which there are none of for a heartbeat.
		pubsub.WithFloodPublish(true),
		pubsub.WithRawTracer(open),
	)
	return &gossip{ctx, h.ID(), router, map[string]*pubsub.Topic{}, open}, err
}

func (g *gossip) subscribe(name string) error {
	if err := g.join(name); err != nil {
		return err
	}
	emit("joined", fields{"topic": name})
	return nil
}

func (g *gossip) join(name string) error {
	topic, err := g.pubsub.Join(name)
	if err != nil {
		return err
	}
	g.topics[name] = topic
	peers, err := topic.EventHandler()
	if err != nil {
		return err
	}
	messages, err := topic.Subscribe()
	if err != nil {
		return err
	}
	go g.tellSubscribers(name, peers)
	go g.tellMessages(name, messages)
	return nil
}

func (g *gossip) tellSubscribers(topic string, peers *pubsub.TopicEventHandler) {
	names := map[pubsub.EventType]string{
		pubsub.PeerJoin: "subscribed", pubsub.PeerLeave: "unsubscribed",
	}
	for {
		change, err := peers.NextPeerEvent(g.ctx)
		if err != nil {
			return
		}
		emit(names[change.Type], fields{"peer_id": change.Peer.String(), "topic": topic})
	}
}

func (g *gossip) tellMessages(topic string, messages *pubsub.Subscription) {
	for {
		message, err := messages.Next(g.ctx)
		if err != nil {
			return
		}
		if from := message.GetFrom(); from != g.self {
			emit("message", fields{"topic": topic, "from": from.String(), "data": string(message.Data)})
		}
	}
}

func (g *gossip) subscribers(topic string) error {
	emit("subscribers", fields{"topic": topic, "peers": ids(g.pubsub.ListPeers(topic))})
	return nil
}

func (g *gossip) publish(ctx context.Context, name, data string) error {
	topic := g.topics[name]
	if topic == nil {
		return fmt.Errorf("not subscribed to %s", name)
	}
	recipients := topic.ListPeers()
	if err := g.open.wait(ctx, recipients); err != nil {
		return err
	}
	if err := topic.Publish(ctx, []byte(data)); err != nil {
		return err
	}
	emit("published", fields{"topic": name, "recipients": ids(recipients)})
	return nil
}

func ids(peers []peer.ID) []string {
	texts := []string{}
	for _, id := range peers {
		texts = append(texts, id.String())
	}
	return texts
}

// openStreams knows whom messages can be written to: a subscription can arrive before that.
type openStreams struct {
	noTracer
	sync.Mutex
	peers map[peer.ID]bool
}

func (o *openStreams) OnNewOutboundStream(id peer.ID, _ protocol.ID) {
	o.Lock()
	defer o.Unlock()
	o.peers[id] = true
}

func (o *openStreams) OnClosedOutboundStream(id peer.ID) {
	o.Lock()
	defer o.Unlock()
	delete(o.peers, id)
}

func (o *openStreams) all(peers []peer.ID) bool {
	o.Lock()
	defer o.Unlock()
	for _, id := range peers {
		if !o.peers[id] {
			return false
		}
	}
	return true
}

func (o *openStreams) wait(ctx context.Context, peers []peer.ID) error {
	for !o.all(peers) {
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// noTracer fills the rest of pubsub.RawTracer.
type noTracer struct{}

func (noTracer) Join(string)                           {}
func (noTracer) Leave(string)                          {}
func (noTracer) Graft(peer.ID, string)                 {}
func (noTracer) Prune(peer.ID, string)                 {}
func (noTracer) ValidateMessage(*pubsub.Message)       {}
func (noTracer) DeliverMessage(*pubsub.Message)        {}
func (noTracer) RejectMessage(*pubsub.Message, string) {}
func (noTracer) DuplicateMessage(*pubsub.Message)      {}
func (noTracer) ThrottlePeer(peer.ID)                  {}
func (noTracer) RecvRPC(*pubsub.RPC)                   {}
func (noTracer) SendRPC(*pubsub.RPC, peer.ID)          {}
func (noTracer) DropRPC(*pubsub.RPC, peer.ID)          {}
func (noTracer) UndeliverableMessage(*pubsub.Message)  {}
