"""Kuaishou's public datasets, KuaiLive and KuaiLive-M3."""
