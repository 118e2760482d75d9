"""What makes two taps comparable: projection, attention, mask and generator."""
from .cbam import CBAMConnector
from .conv import ConvConnector
from .cross_head import CrossHeadConnector
from .match_queries import MatchQueriesConnector
from .mgd import MGDConnector
from .projection import ProjectionConnector

__all__ = [
    'CBAMConnector', 'ConvConnector', 'CrossHeadConnector', 'MatchQueriesConnector', 'MGDConnector',
    'ProjectionConnector'
]
