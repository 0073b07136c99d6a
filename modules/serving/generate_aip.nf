process GENERATE_AIP {
    tag "${meta.id}"
    label 'process_single'
    label 'gpu'

    input:
    tuple val(meta), path(grid), path(grid_manifest)
    val flags

    output:
    path 'published/aips/*.png', emit: figures
    path '*.provenance.json', emit: provenance, topic: 'records'

    script:
    """
    generate_aip.py ${flags} --grid ${grid} --slice ${meta.id} --output published/aips
    """

    stub:
    """
    stub.sh published/aips/aip_${meta.id}.png generate_aip.${meta.id}.provenance.json
    """
}
