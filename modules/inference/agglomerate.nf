process AGGLOMERATE {
    label 'process_single'

    input:
    path(overlaps, stageAs: 'overlaps?.npz')
    val flags

    output:
    path 'segments.parquet', emit: segments
    path '*.provenance.json', emit: provenance

    script:
    """
    agglomerate.py ${flags} --overlaps overlaps*.npz --segments segments.parquet
    """

    stub:
    """
    stub.sh segments.parquet agglomerate.provenance.json
    """
}
