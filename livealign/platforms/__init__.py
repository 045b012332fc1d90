"""Archives of other platforms, translated into the landing tables: simulator, Twitch, KuaiLive, KuaiLive-M3, our own log."""
