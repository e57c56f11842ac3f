//go:build !windows

package udp

import "golang.org/x/net/ipv4"

func (s *batchSocket) readMessages(ms []ipv4.Message) (int, error)  { return s.pc.ReadBatch(ms, 0) }
func (s *batchSocket) writeMessages(ms []ipv4.Message) (int, error) { return s.pc.WriteBatch(ms, 0) }
